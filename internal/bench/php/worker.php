<?php

declare(strict_types=1);

// The worker under Edge: every scenario is loaded once and picked by the path.
use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../../sdk/php/autoload.php';

$scenarios = require __DIR__ . '/scenarios.php';

(new Worker())->serve(static function (Request $request) use ($scenarios): Response {
    [$type, $body] = $scenarios[$request->path](static fn (): string => $request->body);

    return new Response(200, ['Content-Type' => $type], $body);
});
