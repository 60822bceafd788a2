<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;
use Edge\Exception\WebSocketException;

/**
 * Reaches the connections of an application of ws.raw, from anywhere: a worker, a queue, a cron job.
 *
 *     $chat = new WebSocket('chat');
 *     $chat->publish('hall', 'The doors are open');
 *     $chat->sendUser('anna', 'Your table is ready');
 *
 * Connections are known by the id that their events carry. What is done with one that has gone answers false; that is no error.
 * Edge\WebSocket\Handler is how a worker gets the events.
 */
final class WebSocket
{
    private readonly RPC $rpc;

    /** @param string $app its name in edge.yaml; may be left out when there is only one */
    public function __construct(private readonly string $app = '', ?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? RPC::shared();
    }

    /** Sends to one connection. */
    public function send(string $connection, string $message, bool $binary = false): bool
    {
        return $this->call('Send', ['conn' => $connection] + self::message($message, $binary));
    }

    /** Sends to all connections of a user, on all servers. */
    public function sendUser(string $user, string $message, bool $binary = false): void
    {
        $this->call('Send', ['user' => self::notEmpty($user, 'user')] + self::message($message, $binary));
    }

    /**
     * Sends to the subscribers of a channel, on all servers.
     *
     * @param string|null $except  a connection that does not get it
     * @param int         $keep    how many messages of the channel are remembered for history(), with this one
     * @param float       $keepFor seconds; 0 is for as long as the server, or the broker, runs
     */
    public function publish(string $channel, string $message, bool $binary = false, ?string $except = null, int $keep = 0, float $keepFor = 0): void
    {
        $this->call('Publish', [
            'channel' => $channel, 'except' => $except ?? '', 'keep' => $keep, 'keep_for' => $keepFor,
        ] + self::message($message, $binary));
    }

    /**
     * What was published to a channel with keep, the oldest first.
     *
     * @return string[]
     */
    public function history(string $channel, int $limit = 0): array
    {
        return \array_map(
            static fn (array $m): string => isset($m['binary']) ? \base64_decode($m['binary'], true) : $m['data'],
            $this->call('History', ['channel' => $channel, 'limit' => $limit])
        );
    }

    /**
     * Lets a connection of this server hear what is published to a channel, until it ends.
     *
     * @param string $member as whom it is there, for members(): such as the name of the user
     * @param string $info   what the others may know of the member
     */
    public function subscribe(string $connection, string $channel, string $member = '', string $info = ''): bool
    {
        return $this->call('Subscribe', ['conn' => $connection, 'channel' => $channel, 'member' => $member, 'info' => $info]);
    }

    public function unsubscribe(string $connection, string $channel): bool
    {
        return $this->call('Unsubscribe', ['conn' => $connection, 'channel' => $channel]);
    }

    /**
     * Who is in a channel, each once, however many connections they have.
     *
     * @return array<array-key, string> what subscribe() said of each, by member. PHP makes numbers of keys such as "7".
     */
    public function members(string $channel): array
    {
        $list = [];
        foreach ($this->call('Members', ['channel' => $channel]) as $member) {
            $list[$member['id']] = $member['info'] ?? '';
        }

        return $list;
    }

    /**
     * The channels that have subscribers, with how many.
     *
     * @return array<array-key, int>
     */
    public function channels(string $prefix = ''): array
    {
        return \array_column($this->call('Channels', ['channel' => $prefix]), 'subscribers', 'name');
    }

    /**
     * Keeps values with a connection of this server: its later events have them. An empty value takes one away.
     *
     * @param array<string, string> $attributes
     */
    public function set(string $connection, array $attributes): bool
    {
        return $this->call('Set', ['conn' => $connection, 'attributes' => (object) $attributes]);
    }

    /** Closes a connection. Codes are 1000, or from 3000 to 4999 what the clients understand; a reason has up to 123 bytes. */
    public function close(string $connection, int $code = 1000, string $reason = ''): bool
    {
        return $this->call('Close', ['conn' => $connection, 'code' => $code, 'reason' => $reason]);
    }

    /** Closes all connections of a user, on all servers. */
    public function closeUser(string $user, int $code = 1000, string $reason = ''): void
    {
        $this->call('Close', ['user' => self::notEmpty($user, 'user'), 'code' => $code, 'reason' => $reason]);
    }

    /**
     * The connections of this server, in no order: id, remote, opened and, where there are any, user, subprotocol, channels,
     * attributes, dropped.
     *
     * @return list<array<string, mixed>>
     */
    public function connections(string $user = ''): array
    {
        return $this->call('Connections', ['user' => $user]);
    }

    /**
     * One connection of this server, or null when it has gone.
     *
     * @return array<string, mixed>|null
     */
    public function connection(string $connection): ?array
    {
        return $this->call('Connection', ['conn' => $connection]);
    }

    /** @return array<string, string> */
    private static function message(string $message, bool $binary): array
    {
        return $binary ? ['binary' => \base64_encode($message)] : ['data' => $message];
    }

    private static function notEmpty(string $value, string $what): string
    {
        return $value !== '' ? $value : throw new \InvalidArgumentException("$what: must not be empty");
    }

    /** @param array<string, mixed> $request */
    private function call(string $method, array $request): mixed
    {
        try {
            return $this->rpc->call("ws.$method", ['app' => $this->app] + $request);
        } catch (UnknownMethodException $e) {
            throw new WebSocketException('the server has no section ws in its edge.yaml', $e->method);
        } catch (RPCException $e) {
            throw new WebSocketException($e->getMessage(), $e->method);
        } catch (\JsonException $e) {
            throw new \InvalidArgumentException('texts must be UTF-8; send others as binary', 0, $e);
        }
    }
}
