-- A pipeline of 100 GETs.
local commands = {}
for i = 1, 100 do commands[i] = '["GET","bench:value"]' end
wrk.method = "POST"
wrk.path = "/pipeline"
wrk.body = "[" .. table.concat(commands, ",") .. "]"
wrk.headers["Authorization"] = "Bearer bench"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Upstash-Encoding"] = "base64"
