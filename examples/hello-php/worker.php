<?php

declare(strict_types=1);

// With Composer it is vendor/autoload.php alone; the second path lets the example run from a checkout without Composer.
require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

(new Worker())->serve(function (Request $request): Response {
    $name = $request->query['name'] ?? 'world';

    return new Response(200, ['Content-Type' => 'text/plain; charset=utf-8'], "Hello, $name\n");
});
