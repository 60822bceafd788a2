<?php

declare(strict_types=1);

// With Composer it is vendor/autoload.php alone; the second path lets the example run from a checkout without Composer.
require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\KV;

$kv = new KV('counters');

(new Worker())->serve(function (Request $request) use ($kv): Response {
    $page = trim($request->path, '/') ?: 'home';
    if ($page === 'top') {
        return json($kv->sorted('pages')->top(3));
    }
    if ($page === 'report') {
        // However many workers are asked at once, one of them makes the report; it lives for ten seconds.
        return json($kv->remember('report', fn () => ['made' => $kv->increment('reports'), 'pages' => $kv->sorted('pages')->count()], ttl: 10));
    }

    // One call, whatever the number of workers: no visit is lost, none is counted twice.
    [$visits, $minute] = $kv->batch()
        ->increment("visits:$page")
        ->increment('minute:' . intdiv(time(), 60), ttl: 120)
        ->run();
    $kv->sorted('pages')->increment($page);

    return json(['page' => $page, 'visits' => $visits, 'this_minute' => $minute]);
});

function json(mixed $value): Response
{
    return new Response(200, ['Content-Type' => 'application/json'], json_encode($value, JSON_THROW_ON_ERROR) . "\n");
}
