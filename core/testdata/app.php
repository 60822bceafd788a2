<?php

// The application of core's tests: one behaviour per path.

declare(strict_types=1);

require $_SERVER['EDGE_TEST_SDK'] . '/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

$kv = isset($_SERVER['EDGE_RPC']) ? new Edge\KV('counters') : null;
$version = is_file('version.txt') ? trim(file_get_contents('version.txt')) : 'none';
$served = 0;

(new Worker())->serve(function (Request $request) use ($kv, $version, &$served): Response {
    $served++;
    $json = fn (mixed $value): Response => new Response(200, ['Content-Type' => 'application/json'], json_encode($value));

    switch ($request->path) {
        case '/':
            $count = ($kv->get('visits') ?? 0) + 1;
            $kv->set('visits', $count);
            return $json([
                'pid' => getmypid(),
                'served' => $served,
                'visits' => $count,
                'protocol' => $request->protocol,
                'stamps' => $request->headers['X-Edge-Stamp'] ?? [],
            ]);
        case '/attributes':
            return $json(['method' => $request->method, 'attributes' => $request->attributes]);
        case '/version':
            return new Response(200, ['Content-Type' => 'text/plain'], $version);
        case '/pid':
            return new Response(200, ['Content-Type' => 'text/plain'], (string) getmypid());
        case '/slow':
            file_put_contents('slow.started', '1', FILE_APPEND);
            usleep(700_000);
            $kv?->set('slow', 'whole'); // what a worker needs is there as long as it is
            if ($kv !== null && $kv->get('slow') !== 'whole') {
                return new Response(500, [], 'the store is gone');
            }
            return new Response(200, ['Content-Type' => 'text/plain'], 'slow but whole');
        case '/length':
            return $json(['length' => strlen($request->body)]);
        case '/env':
            return $json(array_filter($_SERVER, fn ($key) => str_starts_with((string) $key, 'RR_') || str_starts_with((string) $key, 'EDGE_'), ARRAY_FILTER_USE_KEY));
        case '/crash':
            posix_kill(getmypid(), SIGKILL);
            break;
        case '/held':
            return new Response(200, ['Content-Type' => 'text/plain'], (function () {
                yield "begun\n";
                while (!is_file('release')) {
                    usleep(10_000);
                    clearstatcache();
                }
                yield "ended\n";
            })());
        case '/stream':
            return new Response(200, ['Content-Type' => 'text/event-stream'], (function () {
                for ($i = 0; $i < 3; $i++) {
                    yield "data: $i\n\n";
                }
            })());
    }

    return new Response(404, ['Content-Type' => 'text/plain'], 'no such path');
});
