-- One GET in the body form, without an encoding, which the npm peer does not know.
wrk.method = "POST"
wrk.body = '["GET","bench:value"]'
wrk.headers["Authorization"] = "Bearer bench"
wrk.headers["Content-Type"] = "application/json"
