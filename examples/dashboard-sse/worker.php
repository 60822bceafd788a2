<?php

declare(strict_types=1);

// With Composer it is vendor/autoload.php alone; the second path lets the example run from a checkout without Composer.
require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\KV;

const PRODUCTS = ['apples' => 120, 'bread' => 340, 'cheese' => 890]; // cents

$kv = new KV('shop');

/** What the dashboard shows. */
$numbers = function () use ($kv): array {
    $sold = [];
    $revenue = 0;
    foreach (PRODUCTS as $product => $price) {
        $sold[$product] = $kv->increment("sold:$product", 0);
        $revenue += $sold[$product] * $price;
    }

    return ['orders' => array_sum($sold), 'revenue' => $revenue, 'sold' => $sold];
};

/**
 * One stream: an event whenever a number has changed. The comment between tells the server to look whether the client is still there.
 * After two minutes it ends, and the browser connects again by itself: so code that was reloaded gets everywhere.
 */
$events = function () use ($numbers): Generator {
    $shown = null;
    yield "retry: 1000\n\n";
    for ($i = 0; $i < 600; $i++) {
        if ($shown !== $now = $numbers()) {
            $shown = $now;
            yield 'data: ' . json_encode($now) . "\n\n";
        } elseif ($i % 5 === 0) {
            yield ":\n\n";
        }
        usleep(200_000);
    }
};

(new Worker())->serve(function (Request $request) use ($kv, $events): Response {
    if ($request->path === '/events') {
        return new Response(200, ['Content-Type' => 'text/event-stream', 'Cache-Control' => 'no-store'], $events());
    }
    $product = (string) ($request->form['product'] ?? '');
    if (!isset(PRODUCTS[$product])) {
        return Response::text('no such product', 422);
    }
    $kv->increment("sold:$product");

    return new Response(204);
});
