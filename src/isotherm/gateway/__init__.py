"""HTTP/1.1 in front of the pool: connections, routes, keys, limits, and the proxy to control."""
