// Package fastcgi has the bytes of FastCGI 1.0 as a web server speaks it to PHP: one request at a time on a connection that is
// kept. It opens nothing and knows no HTTP server; package php does the talking.
//
// A record is a header of 8 bytes and up to 65535 bytes of content:
//
//	version 1 | type | request id, 2 bytes | content length, 2 bytes | padding length | reserved
//
// A request is BEGIN_REQUEST, PARAMS (what PHP finds in $_SERVER) up to an empty one, STDIN (the body) up to an empty one. The
// answer is STDOUT (header lines, an empty line, the body), STDERR (what PHP has to tell the log), then END_REQUEST.
package fastcgi
