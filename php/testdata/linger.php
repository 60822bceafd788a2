<?php

declare(strict_types=1);

// A worker of sdk/php that works on after its answers, as applications do in what their frameworks call terminate.

use Edge\Frame;
use Edge\Http\Message;
use Edge\Http\Worker;
use Edge\Worker as Process;

require __DIR__ . '/../../sdk/php/autoload.php';

$process = Process::create();
$worker = new Worker($process);
while (($r = $worker->wait()) !== null) {
    $ran = $r->query['journal'] ?? '';
    if ($ran !== '') {
        file_put_contents($ran, $r->query['token'] . "\n", FILE_APPEND | LOCK_EX);
    }
    $relay = $process->relay;
    switch ($r->path) { // what a worker must not send
        case '/wrong-number':
            $relay->send(Frame::payload(Frame::PROTO, 0, Message::response(200, []), 'for whom?', 200));
            sleep(600);
        case '/untaken':
            $relay->send(Frame::plain(Frame::CONTROL, '{"untaken":true}', $relay->number));
            sleep(600);
        case '/unasked':
            $relay->send(Frame::plain(Frame::CONTROL, '{"pid":1}'));
            sleep(600);
    }
    $worker->send(200, [], ($r->query['token'] ?? '') . ' ' . getmypid());
    switch ($r->path) {
        case '/until':
            touch($r->query['begun']);
            while (!file_exists($r->query['file'])) {
                usleep(1000);
            }
            break;
        case '/twice':
            $relay->send(Frame::payload(Frame::PROTO, 0, Message::response(200, []), 'again', $relay->number));
            break;
        case '/linger':
            usleep(1000 * (int) $r->query['ms']);
            break;
        case '/exit':
            usleep(1000 * (int) $r->query['ms']);
            exit((int) ($r->query['code'] ?? 0));
        case '/kill':
            usleep(1000 * (int) $r->query['ms']);
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
    }
}
