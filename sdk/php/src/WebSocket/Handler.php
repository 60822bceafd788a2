<?php

declare(strict_types=1);

namespace Edge\WebSocket;

use Edge\Http\Request;
use Edge\Http\Response;
use Edge\WebSocket;

/**
 * A WebSocket application:
 *
 *     final class Chat extends Edge\WebSocket\Handler
 *     {
 *         public function onConnect(Connection $c): ?Response
 *         {
 *             $c->subscribe('hall');
 *             return null;
 *         }
 *
 *         public function onMessage(Connection $c, string $message, bool $binary): void
 *         {
 *             $c->publish('hall', $message);
 *         }
 *     }
 *
 *     (new Edge\Http\Worker())->serve(new Chat('chat'));
 *
 * Events of one connection come one after the other, those of others go to other workers at the same time: what is to be shared
 * belongs in a store, in history() and members(), or in set(). An exception loses the message and leaves the connection alone.
 */
abstract class Handler
{
    protected readonly WebSocket $sockets;

    /**
     * @param string                            $app       its name in edge.yaml; may be left out when there is only one
     * @param (callable(Request): Response)|null $otherwise answers requests that are no events, by default with 404
     */
    public function __construct(string $app = '', private $otherwise = null, ?WebSocket $sockets = null)
    {
        $this->sockets = $sockets ?? new WebSocket($app);
    }

    /** A client asks to come in. Null lets it; a response is what it gets instead: new Response(403). */
    public function onConnect(Connection $c): ?Response
    {
        return null;
    }

    abstract public function onMessage(Connection $c, string $message, bool $binary): void;

    /** The connection is over: with 1000 or 1001 the client left, with 1006 it broke. */
    public function onClose(Connection $c, int $code, string $reason): void
    {
    }

    /** Answers an event, and null for a request that is none. */
    final public function handle(Request $request): ?Response
    {
        $event = $request->attribute('ws');
        if (!\in_array($event, ['connect', 'message', 'disconnect'], true)) {
            return null;
        }
        $c = new Connection($request, $this->sockets, $event);
        if ($event === 'connect') {
            $refused = $this->onConnect($c);
            if ($refused !== null && $refused->status < 300) {
                throw new \LogicException("onConnect() returned status $refused->status, which refuses nobody: return null, or 300 and more");
            }
            if ($refused !== null) {
                return $refused;
            }
        } elseif ($event === 'message') {
            $this->onMessage($c, $request->body, $request->attribute('ws_kind') === 'binary');
        } else {
            $this->onClose($c, (int) $request->attribute('ws_code'), (string) $request->attribute('ws_reason'));
        }

        return $c->response();
    }

    /** For Edge\Http\Worker::serve(). */
    public function __invoke(Request $request): Response
    {
        return $this->handle($request)
            ?? ($this->otherwise !== null ? ($this->otherwise)($request) : Response::text("no WebSocket\n", 404));
    }
}
