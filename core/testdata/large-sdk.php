<?php

// Answers of any size, whole or as a stream of pieces: a worker of sdk/php, which writes those of some size into shared memory.

declare(strict_types=1);

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../sdk/php/autoload.php';

(new Worker())->serve(static function (Request $request): Response {
    $size = (int) $request->query['size'];
    $body = substr(str_repeat("0123456789abcde\n", intdiv($size, 16) + 1), 0, $size);

    return new Response(200, ['Content-Type' => 'text/plain'], isset($request->query['piece']) ? str_split($body, (int) $request->query['piece']) : $body);
});
