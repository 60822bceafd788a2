<?php

// The application behind guards: one behaviour per path.

declare(strict_types=1);

require $_SERVER['EDGE_TEST_SDK'] . '/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

$worker = new Worker();
$worker->serve(function (Request $request) use ($worker): Response {
    switch ($request->path) {
        case '/user':
            return new Response(200, ['Content-Type' => 'application/json'], json_encode($request->attributes));
        case '/hints':
            $worker->earlyHints(['Link' => '</app.css>; rel=preload; as=style']);
            return new Response(200, ['Content-Type' => 'text/plain'], 'hinted');
        case '/held':
            do {
                usleep(10_000);
                clearstatcache();
            } while (!is_file('release'));
            return new Response(200, [], 'released');
        case '/length':
            return new Response(200, [], (string) strlen($request->body));
        case '/crash':
            posix_kill(getmypid(), SIGKILL);
    }

    return new Response(404, ['Content-Type' => 'text/plain'], "PHP's own");
});
