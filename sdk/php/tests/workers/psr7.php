<?php

declare(strict_types=1);

// A PSR-7 worker for sdk_test.go.

use Edge\Http\Psr7Worker;
use Nyholm\Psr7\Response;
use Nyholm\Psr7\Stream;

require __DIR__ . '/../bootstrap.php';

$worker = new Psr7Worker();
while (($request = $worker->waitRequest()) !== null) {
    try {
        if ($request->getUri()->getPath() === '/large') {
            $file = tmpfile();
            fwrite($file, str_repeat('0123456789abcdef', 128 << 10));
            $worker->respond(new Response(200, [], Stream::create($file)));
            continue;
        }
        $worker->respond(new Response(200, ['X-User' => $request->getAttribute('user', '')], "{$request->getMethod()} {$request->getUri()} {$request->getBody()}"));
    } catch (\Throwable $e) {
        $worker->error((string) $e);
    }
}
