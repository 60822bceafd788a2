<?php

declare(strict_types=1);

// A worker of sdk/php: one behaviour per path.

use Edge\Frame;
use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;

require __DIR__ . '/../../sdk/php/autoload.php';

(new Worker())->serve(static function (Request $r, Worker $worker) {
    $id = $r->header('X-Id');
    switch ($r->path) {
        case '/pid':
            return new Response(200, [], (string) getmypid());
        case '/echo':
            return new Response(200, ['X-Id' => $id], "$id $r->queryString " . strlen($r->body) . ' ' . md5($r->body));
        case '/slow':
            touch($r->query['begun'] ?? '/dev/null');
            usleep(1000 * (int) $r->query['ms']);

            return new Response(200, ['X-Id' => $id], 'slow');
        case '/until':
            touch($r->query['begun']);
            while (!file_exists($r->query['file'])) {
                usleep(1000);
            }

            return new Response(200, [], 'released');
        case '/die':
            touch($r->query['begun'] ?? '/dev/null');
            posix_kill(getmypid(), SIGKILL);
        case '/error':
            throw new \DomainException('broken on purpose');
        case '/null':
            return (static fn () => null)();
        case '/stream':
            return new Response(200, [], (static function () use ($r) {
                for ($i = 0; $i < (int) $r->query['n']; $i++) {
                    yield "part $i\n";
                    usleep(1000 * (int) ($r->query['ms'] ?? 0));
                }
            })());
        case '/all':
            return Response::json([
                'method' => $r->method, 'uri' => $r->uri, 'path' => $r->path, 'queryString' => $r->queryString, 'host' => $r->host,
                'protocol' => $r->protocol, 'remoteAddr' => $r->remoteAddr, 'query' => $r->query, 'headers' => $r->headers,
                'cookies' => $r->cookies, 'form' => $r->form, 'body' => md5($r->body), 'bodyFile' => $r->bodyFile !== null,
                'files' => array_map(static fn ($f) => [$f->clientName, $f->clientType, $f->size, md5_file($f->path)], $r->files),
                'attributes' => $r->attributes,
            ]);
        case '/mine':
            return new Response(200, ['X-Id' => $id], substr(str_repeat("$id ", intdiv((int) $r->query['n'], strlen($id) + 1) + 1), 0, (int) $r->query['n']));
        case '/forge':
            // An answer with the slot and the end that the query names; the one of Edge's own comes too late.
            (function (string $slot, string $end): void {
                $this->relay->send(Frame::payload(Frame::PROTO, $slot << 4, "\x08\xc8\x01", (string) hex2bin($end), $this->number));
            })->call((fn () => $this->process)->call($worker), $r->query['slot'], $r->query['end']);
            sleep(60);
        case '/big':
            return new Response(200, ['X-Id' => $id], str_repeat('x', (int) $r->query['n']));
    }

    return new Response(404);
});
