<?php

declare(strict_types=1);

// A worker for sdk_test.go: one behaviour per path.

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../autoload.php';

echo "printed before the worker\n";
$worker = new Worker();
echo "printed before the loop\n";

$worker->serve(static function (Request $request, Worker $worker): Response {
    switch ($request->path) {
        case '/hello':
            return Response::text('Hello, world');
        case '/echo':
            return new Response(200, ['X-Method' => $request->method, 'X-Query' => $request->query['q'] ?? ''], $request->body);
        case '/noise':
            echo "printed by the application\n";
            print_r(['and' => 'dumped']);
            trigger_error('a warning of the application', E_USER_WARNING);
            ob_start();
            echo 'left in a buffer';

            return Response::text('quiet');
        case '/error':
            throw new \DomainException('the application broke');
        case '/stream':
            return new Response(200, [], (static function () {
                for ($i = 0; $i < 20; $i++) {
                    yield "piece $i\n";
                }
            })());
        case '/endless':
            return new Response(200, [], (static function () {
                try {
                    while (true) {
                        yield str_repeat('x', 1000);
                    }
                } finally {
                    fwrite(STDERR, "the generator was closed\n");
                }
            })());
        case '/half':
            return new Response(200, [], (static function () {
                yield 'half';
                throw new \DomainException('the stream broke');
            })());
        case '/hints':
            $worker->earlyHints(['Link' => '</a.css>; rel=preload']);

            return new Response();
        case '/file':
            $stream = $request->bodyStream();
            $hash = hash_init('sha256');
            hash_update_stream($hash, $stream);

            return Response::json(['sha256' => hash_final($hash), 'peak' => memory_get_peak_usage()]);
        case '/twice': // as after an exception that came late
            $worker->send(200, [], 'first');
            $worker->error('what went wrong after the response');

            return Response::text('second');
        case '/exit':
            exit(3);
        case '/fatal':
            ini_set('memory_limit', '8M');
            $text = str_repeat('x', 100 << 20);

            return Response::text($text);
    }

    return new Response(404);
});
fwrite(STDERR, "the loop ended\n");
