<?php

declare(strict_types=1);

// A worker of sdk/php for the model test: it notes each request that it begins, and then does what the path says.

use Edge\Http\Worker;
use Edge\Worker as Process;

require __DIR__ . '/../../sdk/php/autoload.php';

$journal = fopen(getenv('MODEL_JOURNAL'), 'ab');
$pipe = fopen('php://fd/1', 'w'); // to the server: the worker takes it away from STDOUT
$process = Process::create();
$worker = new Worker($process);
$served = 0;
while (($r = $worker->wait()) !== null) {
    $token = $r->query['token'];
    $us = (int) ($r->query['us'] ?? 0);
    if ($r->path === '/stop' && $served > 2) {
        $process->stop(); // and leaves the request, untouched, to another
        continue;
    }
    $served++;
    fwrite($journal, "$token\n");
    switch ($r->path) {
        case '/slow':
            usleep($us);
            break;
        case '/exit':
            exit(3);
        case '/kill':
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
        case '/segfault':
            posix_kill(getmypid(), SIGSEGV);
            sleep(600);
        case '/error':
            $worker->error("on purpose: $token");
            continue 2;
        case '/hints':
            $worker->earlyHints(['Link' => '</a>']);
            break;
        case '/stream':
            $worker->send(200, [], (static function () use ($token, $us) {
                for ($i = 0; $i < 12; $i++) {
                    yield "$token ";
                    usleep($us);
                }
            })());
            continue 2;
    }
    $worker->send(200, [], $r->path === '/large' ? "$token " . str_repeat('x', 2_000_000) : "$token " . md5($r->body));
    switch ($r->path) {
        case '/linger':
            usleep(10 * $us);
            break;
        case '/fork': // a child that holds the pipe open, in another group, for a while
            proc_open(['setsid', 'sleep', '0.5'], [STDIN, $pipe, STDERR], $pipes);
            usleep(20000);
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
        case '/exit-after':
            usleep($us);
            exit(0);
        case '/kill-after':
            usleep($us);
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
        case '/stop-after':
            $process->stop();
    }
}
