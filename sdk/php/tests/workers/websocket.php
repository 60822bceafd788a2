<?php

// The application of tests/WebSocket: a handler with everything that it can do.

declare(strict_types=1);

require __DIR__ . '/../../autoload.php';

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\WebSocket\Connection;
use Edge\WebSocket\Handler;

(new Worker())->serve(new class ('chat', fn (Request $r): Response => Response::text("no event: $r->path")) extends Handler {
    public function onConnect(Connection $c): ?Response
    {
        $query = $c->request->query;
        if (isset($query['refuse'])) {
            return new Response((int) $query['refuse'], ['X-Why' => 'because']);
        }
        if (isset($query['user'])) {
            $c->setUser($query['user']);
            $c->subscribe('hall', $query['user'], "about {$query['user']}");
        }
        $c->set('colour', 'dark red & "green" ü');
        $c->setSubprotocol('v2');
        $c->send('one');
        $c->send('');
        $c->sendJson(['hello' => $query['user'] ?? 'stranger', 'id' => $c->id]);

        return null;
    }

    public function onMessage(Connection $c, string $message, bool $binary): void
    {
        if ($binary) {
            $c->sendBinary(\strrev($message));

            return;
        }
        switch ($message) {
            case 'who':
                $c->sendJson([$c->user, $c->get('colour'), $c->get('count'), $c->get('none')]);
                break;
            case 'count':
                $c->set('count', (string) (1 + (int) $c->get('count')));
                $c->send($c->get('count'));
                break;
            case 'order':
                $c->send('a');
                $c->publish('hall', 'b');
                $c->sendBinary("\xff");
                $c->broadcast('hall', 'to the others');
                $c->send('d');
                break;
            case 'forget':
                $c->set('colour', '');
                $c->unsubscribe('hall');
                $c->send('done');
                break;
            case 'bye':
                $c->send('goodbye');
                $c->close(4001, "as you\nwish");
                break;
            case 'fail':
                throw new \RuntimeException('this message is lost');
            case 'late':
                try {
                    $c->setUser('somebody else');
                } catch (\LogicException $e) {
                    $c->send($e->getMessage());
                }
                break;
            default:
                $c->send($message);
        }
    }

    public function onClose(Connection $c, int $code, string $reason): void
    {
        $this->sockets->publish('ends', "$c->user $code $reason {$c->get('count')}", keep: 100);
    }
});
