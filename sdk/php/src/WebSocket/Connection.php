<?php

declare(strict_types=1);

namespace Edge\WebSocket;

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\WebSocket;

/**
 * The connection whose event a Handler deals with. What happens here reaches the client in the order in which it was called; the last
 * message goes out with the answer to the event and costs no call. Keep the id, not the object: it is done when the event is.
 */
final class Connection
{
    /** 16 hexadecimal digits, which name the connection on all servers. */
    public readonly string $id;

    /** Whose it is: what setUser() said at the connect. */
    public readonly string $user;

    private ?string $pending = null;
    private bool $pendingBinary = false;

    /** @var array<string, string> headers of the answer */
    private array $answer = [];

    /** @var array<string, string> what set() said in this event */
    private array $set = [];

    /** @internal */
    public function __construct(public readonly Request $request, private readonly WebSocket $sockets, private readonly string $event)
    {
        $this->id = (string) $request->attribute('ws_connection');
        $this->user = (string) $request->attribute('ws_user');
    }

    /** What set() has kept with the connection, "" for nothing. */
    public function get(string $name): string
    {
        return $this->set[$name] ?? (string) $this->request->attribute("ws:$name");
    }

    /** Keeps a value with the connection, for its later events. "" takes it away. Up to 4 KiB in all for one event. */
    public function set(string $name, string $value): void
    {
        $this->during('connect', 'message');
        $this->set[$name] = $value;
        $this->answer['X-Ws-Set'] = \http_build_query($this->set);
        if (\strlen($this->answer['X-Ws-Set']) > 4096) {
            throw new \LengthException('a connection keeps at most 4 KiB an event; a store of the kv section has more room');
        }
    }

    /** Says whose the connection is. The handler has proved it. */
    public function setUser(string $user): void
    {
        $this->during('connect');
        if (\preg_match('/[\x00-\x1F\x7F]/', $user) === 1) {
            throw new \InvalidArgumentException('setUser: the name of a user has no control characters, such as line breaks');
        }
        $this->answer['X-Ws-User'] = $user;
    }

    /** Chooses one of the subprotocols that the client offers; else the one that edge.yaml prefers is agreed on. */
    public function setSubprotocol(string $name): void
    {
        $this->during('connect');
        $this->answer['Sec-WebSocket-Protocol'] = $name;
    }

    /** Sends a text, which must be UTF-8. At the connect it is the first thing that the client gets. */
    public function send(string $text): void
    {
        $this->queue($text, false);
    }

    public function sendBinary(string $bytes): void
    {
        $this->queue($bytes, true);
    }

    /** Sends what json_encode() makes of a value. */
    public function sendJson(mixed $value): void
    {
        $this->queue(\json_encode($value, \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE), false);
    }

    /** Lets the client hear what is published to a channel; see WebSocket::subscribe(). */
    public function subscribe(string $channel, string $member = '', string $info = ''): void
    {
        $this->flush();
        $this->sockets->subscribe($this->id, $channel, $member, $info);
    }

    public function unsubscribe(string $channel): void
    {
        $this->flush();
        $this->sockets->unsubscribe($this->id, $channel);
    }

    /** Publishes to all subscribers of a channel but this one. */
    public function broadcast(string $channel, string $message, bool $binary = false, int $keep = 0): void
    {
        $this->flush();
        $this->sockets->publish($channel, $message, $binary, $this->id, $keep);
    }

    /** Publishes to all subscribers of a channel, this one too. */
    public function publish(string $channel, string $message, bool $binary = false, int $keep = 0): void
    {
        $this->flush();
        $this->sockets->publish($channel, $message, $binary, null, $keep);
    }

    /** Closes the connection when the event is done with. Codes are 1000, 1001, 1003, 1007 to 1013 and, of applications, 3000 to 4999. */
    public function close(int $code = 1000, string $reason = ''): void
    {
        $this->during('message');
        if (!\in_array($code, [1000, 1001, 1003], true) && ($code < 1007 || $code > 1013) && ($code < 3000 || $code > 4999)) {
            throw new \InvalidArgumentException("code: must be 1000, 1001, 1003, 1007 to 1013 or 3000 to 4999, got $code");
        }
        $this->answer['X-Ws-Close'] = \rtrim("$code " . \preg_replace('/[\x00-\x1f\x7f]+/', ' ', $reason));
    }

    /** @internal the answer to the event */
    public function response(): Response
    {
        if ($this->event === 'disconnect' || $this->pending === null) {
            return new Response(204, $this->answer);
        }
        $type = $this->pendingBinary ? 'application/octet-stream' : 'text/plain; charset=utf-8';

        return new Response(200, ['Content-Type' => $type] + $this->answer, $this->pending);
    }

    private function queue(string $message, bool $binary): void
    {
        $this->during('connect', 'message');
        $this->flush();
        if ($message === '') {
            $this->sockets->send($this->id, '', $binary);

            return;
        }
        $this->pending = $message;
        $this->pendingBinary = $binary;
    }

    /** Sends what waits for the end of the event, because something else is to come behind it. */
    private function flush(): void
    {
        if ($this->pending !== null) {
            $this->sockets->send($this->id, $this->pending, $this->pendingBinary);
            $this->pending = null;
        }
    }

    private function during(string ...$events): void
    {
        if (!\in_array($this->event, $events, true)) {
            throw new \LogicException('this is for ' . \implode(' and ', $events) . ", not for $this->event");
        }
    }
}
