-- One GET in the body form, as the default SDKs send it.
wrk.method = "POST"
wrk.body = '["GET","bench:value"]'
wrk.headers["Authorization"] = "Bearer bench"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Upstash-Encoding"] = "base64"
