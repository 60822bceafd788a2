<?php

// The handler behind the http-wasm TCK's guest: it tells in the answer's headers which request reached it.

declare(strict_types=1);

require $_SERVER['EDGE_TEST_SDK'] . '/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

(new Worker())->serve(function (Request $request): Response {
    $parts = parse_url($request->uri);
    $headers = [
        'x-httpwasm-next-method' => $request->method,
        'x-httpwasm-next-uri' => ($parts['path'] ?? '/') . (isset($parts['query']) ? '?' . $parts['query'] : ''),
    ];
    foreach ($request->headers as $name => $values) {
        foreach ($values as $i => $value) {
            $headers["x-httpwasm-next-header-$name-$i"] = $value;
        }
    }

    return new Response(200, $headers, '');
});
