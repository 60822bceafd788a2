<?php

declare(strict_types=1);

namespace Edge;

use Edge\Broadcast\Encryption;
use Edge\Exception\BroadcastException;
use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;

/**
 * Publishes to the WebSockets of an app of ws.pusher, and looks who is there:
 *
 *     $broadcast = new Broadcast('main');
 *     $broadcast->publish('orders', 'shipped', ['id' => 7]);
 *     $broadcast->user('42', 'hello', ['from' => 'the back end']);
 *     $broadcast->users('presence-room');
 *
 * Calls go over the connection that the worker has to its server: no HTTP, no signatures. Front ends use pusher-js or Laravel Echo.
 */
final class Broadcast
{
    private readonly RPC $rpc;

    /**
     * @param string          $app        its name in edge.yaml; may be left out when there is only one
     * @param Encryption|null $encryption for channels that begin with private-encrypted-
     */
    public function __construct(private readonly string $app = '', ?RPC $rpc = null, private readonly ?Encryption $encryption = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /**
     * Sends an event to the subscribers of one or several channels.
     *
     * @param string|string[] $channels
     * @param mixed           $data   what json_encode() takes; a string goes out as it is
     * @param string|null     $except the socket id of a connection that does not get it, such as the header X-Socket-ID of a request
     */
    public function publish(string|array $channels, string $event, mixed $data, ?string $except = null): void
    {
        $plain = [];
        foreach ((array) $channels as $channel) {
            // Each encrypted channel has a key of its own.
            if (Encryption::covers($channel)) {
                $this->call('Publish', $this->event([$channel], $event, $data, $except));
            } else {
                $plain[] = $channel;
            }
        }
        if ($plain !== []) {
            $this->call('Publish', $this->event($plain, $event, $data, $except));
        }
    }

    /**
     * Sends several events in one call, all or none.
     *
     * @param array<array{channel: string, event: string, data: mixed, except?: string}> $events
     */
    public function publishMany(array $events): void
    {
        $batch = [];
        foreach ($events as $e) {
            $batch[] = $this->event([$e['channel']], $e['event'], $e['data'], $e['except'] ?? null);
        }
        if ($batch !== []) {
            $this->call('Batch', ['batch' => $batch]);
        }
    }

    /** Sends an event to the connections of a user that has signed in. */
    public function user(string $id, string $event, mixed $data): void
    {
        $this->publish("#server-to-user-$id", $event, $data);
    }

    /** Closes the connections of a user that has signed in. They may come back, if the application lets them. */
    public function terminate(string $userId): void
    {
        $this->call('Terminate', ['user' => $userId]);
    }

    /**
     * The channels that have subscribers, with the attributes asked for: user_count of presence channels (the prefix must say so),
     * subscription_count of others.
     *
     * @return array<string, array<string, int>>
     */
    public function channels(string $prefix = '', string ...$info): array
    {
        return $this->call('Channels', ['prefix' => $prefix, 'info' => \implode(',', $info)])['channels'];
    }

    /**
     * One channel: occupied, and the attributes asked for: user_count, subscription_count or cache.
     *
     * @return array{occupied: bool, user_count?: int, subscription_count?: int, cache?: ?array{data: string, ttl: int}}
     */
    public function channel(string $name, string ...$info): array
    {
        return $this->call('Channel', ['channel' => $name, 'info' => \implode(',', $info)]);
    }

    /**
     * The ids of the users in a presence channel.
     *
     * @return string[]
     */
    public function users(string $channel): array
    {
        return \array_column($this->call('Users', ['channel' => $channel])['users'], 'id');
    }

    /** @param string[] $channels */
    private function event(array $channels, string $name, mixed $data, ?string $except): array
    {
        $text = \is_string($data) ? $data : \json_encode($data, \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE);
        if (Encryption::covers($channels[0])) {
            if ($this->encryption === null) {
                throw new \LogicException("$channels[0] is an encrypted channel: give Edge\\Broadcast an Edge\\Broadcast\\Encryption");
            }
            $text = $this->encryption->encrypt($channels[0], $text);
        }
        $event = ['name' => $name, 'channels' => $channels, 'data' => $text];
        if ($except !== null && $except !== '') {
            $event['socket_id'] = $except;
        }

        return $event;
    }

    private function call(string $method, array $request): array
    {
        try {
            return $this->rpc->call("pusher.$method", ['app' => $this->app] + $request);
        } catch (UnknownMethodException $e) {
            throw new BroadcastException('the server has no section ws.pusher in its edge.yaml', $e->method);
        } catch (RPCException $e) {
            throw new BroadcastException($e->getMessage(), $e->method);
        }
    }
}
