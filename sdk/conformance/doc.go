// Package conformance proves that all SDKs are equal: one guest, written in each language after README.md, and one table of
// tests that drives any of them.
//
// The table runs twice: through the plugin host alone ([Run]), and through a whole server on HTTP/1.1, HTTP/2 and HTTP/3
// ([RunServer]); [RunAll] has both and more. Each request meets two plugins made of the same module: the middleware under test and, as the target of the
// route, an origin that the request tells what to answer. So nothing is needed besides the module.
package conformance
