<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\KVException;
use Edge\Exception\ProtocolException;
use Edge\Exception\RPCException;
use Edge\Exception\StorageNotFoundException;
use Edge\Exception\UnknownMethodException;
use Edge\Http\Message;

/**
 * A key-value storage of the server, shared by all workers:
 *
 *     $cart = new KV('sessions');
 *     $cart->set('cart:7', ['apples' => 2], ttl: 3600);
 *     $cart->get('cart:7');
 *
 * Values are what serialize() takes. Keys are UTF-8 texts of at least one character that is no space.
 *
 * Several keys in one call cost hardly more than one: see the methods named …Multiple.
 */
final class KV
{
    private readonly RPC $rpc;

    /** The field "storage" of every request, packed. */
    private readonly string $storage;

    public function __construct(string $storage, ?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
        $this->storage = "\x0a" . Message::length(\strlen($storage)) . $storage;
    }

    public function get(string $key, mixed $default = null): mixed
    {
        $answer = $this->call('MGet', self::item($key));

        return $answer === '' ? $default : (self::values($answer)[$key] ?? [$default])[0];
    }

    /**
     * Stores a value. $ttl is how long it lives, in seconds or as an interval, or the time at which it ends; null means for
     * ever. A time that is over removes the key.
     */
    public function set(string $key, mixed $value, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): void
    {
        $this->call('Set', self::item($key, \serialize($value), self::timeout($ttl)));
    }

    public function has(string $key): bool
    {
        return $this->call('Has', self::item($key)) !== '';
    }

    /** Removes a key; one that does not exist is not an error. */
    public function delete(string $key): void
    {
        $this->call('Delete', self::item($key));
    }

    /** Removes every key of the storage. */
    public function clear(): void
    {
        $this->call('Clear', '');
    }

    /** When the key ends; null when it lives for ever or does not exist. */
    public function ttl(string $key): ?\DateTimeImmutable
    {
        foreach (self::items($this->call('TTL', self::item($key))) as [, , $timeout]) {
            if ($timeout !== '') {
                return new \DateTimeImmutable($timeout);
            }
        }

        return null;
    }

    /** Lets an existing key live until another time, and keeps its value. */
    public function expire(string $key, int|float|\DateInterval|\DateTimeInterface $ttl): void
    {
        $this->call('MExpire', self::item($key, '', self::timeout($ttl)));
    }

    /**
     * The values of the keys, in their order; $default for those that do not exist.
     *
     * @param iterable<string> $keys
     *
     * @return array<string, mixed>
     */
    public function getMultiple(iterable $keys, mixed $default = null): array
    {
        $out = [];
        $request = '';
        foreach ($keys as $key) {
            $out[$key] = $default;
            $request .= self::item((string) $key);
        }
        if ($request !== '') {
            foreach (self::values($this->call('MGet', $request)) as $key => [$value]) {
                $out[$key] = $value;
            }
        }

        return $out;
    }

    /** @param iterable<string, mixed> $values */
    public function setMultiple(iterable $values, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): void
    {
        $timeout = self::timeout($ttl);
        $request = '';
        foreach ($values as $key => $value) {
            $request .= self::item((string) $key, \serialize($value), $timeout);
        }
        if ($request !== '') {
            $this->call('Set', $request);
        }
    }

    /** @param iterable<string> $keys */
    public function deleteMultiple(iterable $keys): void
    {
        $request = '';
        foreach ($keys as $key) {
            $request .= self::item((string) $key);
        }
        if ($request !== '') {
            $this->call('Delete', $request);
        }
    }

    private function call(string $method, string $items): string
    {
        try {
            return $this->rpc->callProto("kv.$method", $this->storage . $items);
        } catch (UnknownMethodException $e) {
            throw $e;
        } catch (RPCException $e) {
            throw \str_contains($e->getMessage(), 'no such storage')
                ? new StorageNotFoundException($e->getMessage(), $e->method)
                : new KVException($e->getMessage(), $e->method);
        }
    }

    /** Packs an item of a request: {1: key, 2: value, 3: timeout}, field 2 of it. */
    private static function item(string $key, string $value = '', string $timeout = ''): string
    {
        $item = "\x0a" . Message::length(\strlen($key)) . $key;
        if ($value !== '') {
            $item .= "\x12" . Message::length(\strlen($value)) . $value;
        }
        if ($timeout !== '') {
            $item .= "\x1a" . Message::length(\strlen($timeout)) . $timeout;
        }

        return "\x12" . Message::length(\strlen($item)) . $item;
    }

    /**
     * Unpacks an answer: items in field 1.
     *
     * @return iterable<array{string, string, string}>
     */
    private static function items(string $answer): iterable
    {
        foreach (Message::fields($answer) as [$number, $bytes]) {
            if ($number !== 1) {
                continue;
            }
            $item = ['', '', ''];
            foreach (Message::fields($bytes) as [$field, $value]) {
                if ($field <= 3) {
                    $item[$field - 1] = $value;
                }
            }
            yield $item;
        }
    }

    /** @return array<string, array{mixed}> */
    private static function values(string $answer): array
    {
        $out = [];
        foreach (self::items($answer) as [$key, $bytes]) {
            $value = @\unserialize($bytes);
            if ($value === false && $bytes !== 'b:0;') {
                throw new ProtocolException("the value of \"$key\" was not stored by serialize()");
            }
            $out[$key] = [$value];
        }

        return $out;
    }

    /** An absolute time, to the millisecond. */
    private static function timeout(int|float|\DateInterval|\DateTimeInterface|null $ttl): string
    {
        if ($ttl === null) {
            return '';
        }
        if ($ttl instanceof \DateInterval) {
            $ttl = (new \DateTimeImmutable())->add($ttl);
        }
        $end = $ttl instanceof \DateTimeInterface ? (float) $ttl->format('U.u') : \microtime(true) + $ttl;
        // The years that the format can hold; what is further away never comes.
        $end = \max(0.0, \min($end, 253402300799.0));

        return \gmdate('Y-m-d\TH:i:s', (int) $end) . \sprintf('.%03d+00:00', (int) (\fmod($end, 1) * 1000));
    }
}
