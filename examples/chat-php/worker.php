<?php

declare(strict_types=1);

// With Composer it is vendor/autoload.php alone; the second path lets the example run from a checkout without Composer.
require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : __DIR__ . '/../../sdk/php/autoload.php';

use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\WebSocket\Connection;
use Edge\WebSocket\Handler;

final class Chat extends Handler
{
    private const HISTORY = 50;

    public function onConnect(Connection $c): ?Response
    {
        $name = trim(preg_replace('/\s+/u', ' ', (string) ($c->request->query['name'] ?? '')) ?? '');
        $room = (string) ($c->request->query['room'] ?? 'hall');
        // Names of up to 30 characters that can be seen. An application with users would ask its session here, and return a 401.
        if (!preg_match('/^[^\p{C}\p{Zl}\p{Zp}]{1,30}$/u', $name) || !preg_match('/^[a-z0-9-]{1,40}$/D', $room)) {
            return Response::text("400 a name and a room are needed\n", 400);
        }
        $c->set('name', $name);
        $c->set('room', $room);
        $new = !isset($this->sockets->members($room)[$name]);
        if ($new) {
            $this->tell($room, ['type' => 'joined', 'who' => $name]);
        }
        // Subscribed before the history is read: what is said meanwhile comes twice rather than never, and has an id.
        $c->subscribe($room, member: $name);
        $c->sendJson([
            'type' => 'welcome', 'you' => $name, 'room' => $room,
            'people' => array_map(strval(...), array_keys($this->sockets->members($room))),
            'history' => array_map(fn (string $line) => json_decode($line), $this->sockets->history($room, self::HISTORY)),
        ]);

        return null;
    }

    public function onMessage(Connection $c, string $message, bool $binary): void
    {
        $text = json_decode($message)->say ?? null;
        if (!is_string($text) || ($text = trim($text)) === '') {
            return;
        }
        if (iconv_strlen($text, 'UTF-8') > 1000) {
            $c->sendJson(['type' => 'refused', 'why' => 'a message has at most 1000 characters']);

            return;
        }
        $this->tell($c->get('room'), [
            'type' => 'said', 'id' => bin2hex(random_bytes(8)), 'from' => $c->get('name'), 'text' => $text, 'at' => (int) (microtime(true) * 1000),
        ], keep: self::HISTORY);
    }

    public function onClose(Connection $c, int $code, string $reason): void
    {
        $c->unsubscribe($c->get('room'));
        if (!isset($this->sockets->members($c->get('room'))[$c->get('name')])) { // no other tab of the same person
            $this->tell($c->get('room'), ['type' => 'left', 'who' => $c->get('name')]);
        }
    }

    private function tell(string $room, array $event, int $keep = 0): void
    {
        $this->sockets->publish($room, json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE), keep: $keep);
    }
}

(new Worker())->serve(new Chat('chat'));
