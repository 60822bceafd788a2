<?php
// A worker of sdk/php that wants to know when its client is gone.

declare(strict_types=1);

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../sdk/php/autoload.php';

(new Worker(Edge\Worker::create(cancel: true)))->serve(static function (Request $r, Worker $worker): Response {
    if ($r->path === '/pid') {
        return new Response(200, [], getmypid() . ($worker->cancelled() ? ' cancelled' : ''));
    }
    touch($r->query['begun']);
    $deadline = microtime(true) + 30;
    while (!$worker->cancelled() && microtime(true) < $deadline) {
        usleep(1000);
    }
    fwrite(STDERR, $worker->cancelled() ? "cancelled\n" : "nobody said\n");

    return new Response(200, [], 'late');
});
