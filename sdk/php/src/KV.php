<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\KVException;
use Edge\Exception\ProtocolException;
use Edge\Exception\RPCException;
use Edge\Exception\StorageNotFoundException;
use Edge\Exception\UnknownMethodException;
use Edge\Http\Message;
use Edge\KV\Batch;
use Edge\KV\Lock;
use Edge\KV\SortedSet;
use Edge\KV\Versioned;
use Edge\KV\Wire;

/**
 * A key-value storage of the server, shared by all workers:
 *
 *     $cart = new KV('sessions');
 *     $cart->set('cart:7', ['apples' => 2], ttl: 3600);
 *     $cart->get('cart:7');
 *
 * Values are what the serializer takes, by default serialize(). Keys are any bytes of which at least one is no space.
 * A time to live is a number of seconds with their fraction, an interval, the time at which it ends, or null for ever.
 *
 * Several keys in one call cost hardly more than one: see the methods named …Multiple, and batch().
 */
final class KV
{
    private readonly RPC $rpc;

    /** The field "storage" of every request, packed. */
    private readonly string $packed;

    /** What the argument of kv.Fetch begins with that asks for one key. */
    private readonly string $one;

    /**
     * @param string          $storage    a name of the kv section
     * @param Serializer|null $serializer by default serialize() and unserialize()
     */
    public function __construct(public readonly string $storage, ?RPC $rpc = null, private readonly ?Serializer $serializer = null)
    {
        $this->rpc = $rpc ?? RPC::shared();
        $this->packed = "\x0a" . Message::length(\strlen($storage)) . $storage;
        $this->one = "2$storage\0";
    }

    public function get(string $key, mixed $default = null): mixed
    {
        if (self::$old) {
            $value = self::values($this->call('kv.MGet', self::item($key)))[$key] ?? null;
            if ($value === null) {
                return $default;
            }
        } else {
            try {
                $value = $this->rpc->callBytes("\x04", 'kv.Fetch', $this->one . $key);
            } catch (UnknownMethodException) {
                self::$old = true;

                return $this->get($key, $default);
            } catch (RPCException $e) {
                throw self::failed($e);
            }
            if ($value === '') {
                return $default;
            }
            if ($value[0] === "\0") {
                $value = \substr($value, 1);
            }
        }
        if ($this->serializer === null && (false !== $decoded = @\unserialize($value))) {
            return $decoded;
        }

        return $this->decode($value, $key);
    }

    /** Stores a value. A time to live that is over removes the key. */
    public function set(string $key, mixed $value, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): void
    {
        $this->call('kv.Set', self::item($key, $this->encode($value), self::timeout($ttl)));
    }

    public function has(string $key): bool
    {
        return $this->call('kv.Has', self::item($key)) !== '';
    }

    /** Removes a key; one that does not exist is not an error. */
    public function delete(string $key): void
    {
        $this->call('kv.Delete', self::item($key));
    }

    /** Removes every key of the storage. */
    public function clear(): void
    {
        $this->call('kv.Clear', '');
    }

    /** When the key ends; null when it lives for ever or does not exist. */
    public function ttl(string $key): ?\DateTimeImmutable
    {
        foreach (self::items($this->call('kv.TTL', self::item($key))) as [, , $timeout]) {
            if ($timeout !== '') {
                return new \DateTimeImmutable($timeout);
            }
        }

        return null;
    }

    /** Lets an existing key live until another time, and keeps its value. */
    public function expire(string $key, int|float|\DateInterval|\DateTimeInterface $ttl): void
    {
        $this->call('kv.MExpire', self::item($key, '', self::timeout($ttl)));
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
        $keys = \is_array($keys) ? $keys : \iterator_to_array($keys, false);
        if ($keys === []) {
            return [];
        }
        $joined = \implode("\0", $keys);
        if (!self::$old && \substr_count($joined, "\0") === \count($keys) - 1) {
            try {
                return $this->fetch($keys, $joined, $default);
            } catch (UnknownMethodException) {
                self::$old = true;
            }
        }
        $out = \array_fill_keys($keys, $default);
        $request = '';
        foreach ($keys as $key) {
            $key = (string) $key;
            $size = \strlen($key);
            $request .= (self::$heads[$size] ?? self::head($size)) . $key;
        }
        foreach (self::values($this->call('kv.MGet', $request)) as $key => $bytes) {
            // decode(), without the call.
            $out[$key] = $this->serializer === null && (false !== $value = @\unserialize($bytes)) ? $value : $this->decode($bytes, $key);
        }

        return $out;
    }

    /** Whether the server is one that does not know kv.Fetch. */
    private static bool $old = false;

    /**
     * What getMultiple() does, with functions of PHP that take all keys at once instead of a loop: unserialize() reads the whole answer.
     *
     * @param array<string> $keys
     *
     * @return array<string, mixed>
     */
    private function fetch(array $keys, string $joined, mixed $default): array
    {
        $how = $this->serializer === null ? '1' : '0';
        $answer = $this->bytes('kv.Fetch', $how . $this->storage . "\0" . $joined, "\x04");
        $parts = @\unserialize($answer);
        if (!\is_array($parts) || \count($parts) !== 2) {
            throw new ProtocolException('the answer of kv.Fetch is not what serialize() writes');
        }
        [$values, $texts] = $parts;
        foreach ($texts as $key => $bytes) {
            $values[$key] = $this->decode($bytes, $key);
        }

        // The server answers in the order of the keys, but knows nothing of those that do not exist.
        return $texts === [] && \count($values) === \count($keys) ? $values : \array_replace(\array_fill_keys($keys, $default), $values);
    }

    /** @param iterable<string, mixed> $values */
    public function setMultiple(iterable $values, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): void
    {
        $timeout = self::timeout($ttl);
        $request = '';
        foreach ($values as $key => $value) {
            $request .= self::item((string) $key, $this->encode($value), $timeout);
        }
        if ($request !== '') {
            $this->call('kv.Set', $request);
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
            $this->call('kv.Delete', $request);
        }
    }

    /** Stores a value if the key does not exist; false if it does. */
    public function add(string $key, mixed $value, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): bool
    {
        return $this->op('Add', ['key' => $key, 'value' => $this->encode($value), 'ttl' => self::milliseconds($ttl)])['ok'];
    }

    /** The value with its version, for compareAndSwap(); null when the key does not exist. */
    public function getVersioned(string $key): ?Versioned
    {
        $result = $this->op('Get', ['key' => $key]);

        return $result['found'] ? new Versioned($this->decode($result['value'], $key), $result['version']) : null;
    }

    /**
     * Stores a value if the key still has the version that getVersioned() told, null for a key that must not exist. $ttl null means
     * for ever, KV::KEEP that the key ends when it was to end.
     */
    public function compareAndSwap(
        string $key,
        ?int $version,
        mixed $value,
        int|float|string|\DateInterval|\DateTimeInterface|null $ttl = null,
    ): bool {
        $fields = ['key' => $key, 'value' => $this->encode($value), 'version' => $version, 'absent' => $version === null];

        return $this->op('CompareAndSwap', $fields + ($ttl === self::KEEP ? ['keep_ttl' => true] : ['ttl' => self::milliseconds($ttl)]))['ok'];
    }

    /** In place of a time to live: the one that the key has. */
    public const KEEP = 'keep';

    /**
     * Changes a value in one step: what $change makes of it is stored unless somebody else was faster, and then it is asked again.
     * It gets null for a key that does not exist. The time to live stays, unless $ttl is given.
     *
     * @param callable(mixed): mixed $change
     */
    public function update(
        string $key,
        callable $change,
        int|float|string|\DateInterval|\DateTimeInterface|null $ttl = self::KEEP,
    ): mixed {
        for ($try = 0; $try < 100; ++$try) {
            $now = $this->getVersioned($key);
            $value = $change($now?->value);
            if ($this->compareAndSwap($key, $now?->version, $value, $now === null && $ttl === self::KEEP ? null : $ttl)) {
                return $value;
            }
            \usleep(\random_int(0, 100 << \min($try, 7)));
        }
        throw new KVException("\"$key\" was changed by others a hundred times: use increment() or lock()", 'kv.CompareAndSwap');
    }

    /**
     * Adds to a counter and returns it. One that does not exist counts from 0, and lives for $ttl; a later $ttl changes nothing. get()
     * reads counters, too; set() of a number does not make one.
     */
    public function increment(string $key, int $by = 1, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): int
    {
        return $this->op('Increment', ['key' => $key, 'delta' => $by, 'ttl' => self::milliseconds($ttl)])['number'];
    }

    public function decrement(string $key, int $by = 1, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): int
    {
        return $this->increment($key, -$by, $ttl);
    }

    /** Lets a key live for another time, null for ever; false when it does not exist. */
    public function touch(string $key, int|float|\DateInterval|\DateTimeInterface|null $ttl): bool
    {
        return $this->op('Touch', ['key' => $key, 'ttl' => self::milliseconds($ttl)])['ok'];
    }

    /** How many seconds a key has left, to the millisecond: INF when it lives for ever, null when it does not exist. */
    public function remaining(string $key): ?float
    {
        $result = $this->op('Expiry', ['key' => $key]);

        return $result['found'] ? ($result['ttl'] === 0 ? \INF : $result['ttl'] / 1000) : null;
    }

    /** Removes a key and says whether it existed; false, too, when the driver cannot tell. */
    public function remove(string $key): bool
    {
        return $this->op('Remove', ['key' => $key])['found'];
    }

    /**
     * The keys that begin with a prefix, asked for page by page. Those that come or go meanwhile may be in it or not.
     *
     * @return \Generator<int, string>
     */
    public function scan(string $prefix = '', int $page = 500): \Generator
    {
        $cursor = '';
        do {
            $result = $this->op('Scan', ['prefix' => $prefix, 'cursor' => $cursor, 'limit' => $page]);
            foreach ($result['keys'] as $key) {
                yield $key;
            }
        } while ('' !== $cursor = $result['cursor']);
    }

    /**
     * Stores a value that invalidateTags() of any of its tags removes.
     *
     * @param list<string> $tags
     */
    public function setTagged(string $key, mixed $value, array $tags, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): void
    {
        $this->op('SetTagged', ['key' => $key, 'value' => $this->encode($value), 'tags' => $tags, 'ttl' => self::milliseconds($ttl)]);
    }

    /** Removes all values under the tags at once, however many they are. */
    public function invalidateTags(string ...$tags): void
    {
        $this->op('InvalidateTags', ['tags' => $tags]);
    }

    /**
     * The value of the key; when there is none, what $compute returns, stored. One worker of all computes it, the others wait for
     * it. $lease is how long that may take: after it, another one tries.
     *
     * @param callable(): mixed $compute
     * @param list<string>      $tags
     */
    public function remember(
        string $key,
        callable $compute,
        int|float|\DateInterval|\DateTimeInterface|null $ttl = null,
        array $tags = [],
        float $lease = 10,
    ): mixed {
        $fields = ['key' => $key, 'tags' => $tags, 'lease' => (int) \ceil($lease * 1000), 'wait' => $this->patience($lease * 1000)];
        $result = $this->op('GetOrCompute', $fields);
        if ($result['found']) {
            return $this->decode($result['value'], $key);
        }
        $token = $result['token'];
        try {
            $value = $compute();
        } catch (\Throwable $e) {
            if ($token !== '') {
                $this->op('Abandon', ['key' => $key, 'token' => $token]);
            }
            throw $e;
        }
        // Without a token another worker is at it for longer than anybody waits: the value is good, but not to be stored.
        if ($token !== '') {
            $this->op('Computed', ['key' => $key, 'token' => $token, 'value' => $this->encode($value), 'ttl' => self::milliseconds($ttl)]);
        }

        return $value;
    }

    /**
     * Takes a lock for $lease seconds; null when somebody else has it for longer than $wait seconds.
     *
     *     if ($lock = $kv->lock('import', lease: 60)) {
     *         try { … } finally { $lock->release(); }
     *     }
     */
    public function lock(string $name, float $lease = 30, float $wait = 0): ?Lock
    {
        $fields = ['key' => $name, 'lease' => (int) \ceil($lease * 1000), 'wait' => $this->patience($wait * 1000)];
        $result = $this->op('Lock', $fields);

        return $result['ok'] ? new Lock($this, $name, $result['token'], $result['fence']) : null;
    }

    /** A sorted set: members with scores, for rankings. The drivers memory and redis have them. */
    public function sorted(string $key): SortedSet
    {
        return new SortedSet($this, $key);
    }

    /** Many operations in one call: $kv->batch()->increment('a')->set('b', 1)->get('c')->run(). */
    public function batch(): Batch
    {
        return new Batch($this);
    }

    /** @return array<string, mixed> what the storage knows about itself: driver, keys, bytes, hits, misses, can, … */
    public function stats(): array
    {
        return $this->op('Stats', [])['stats'];
    }

    /**
     * One of the operations of docs/kv.md with the fields of its message.
     *
     * @internal
     *
     * @param array<string, mixed> $fields
     *
     * @return array<string, mixed>
     */
    public function op(string $method, array $fields): array
    {
        return Wire::result($this->call("kv.$method", Wire::op($fields)));
    }

    /** @internal */
    public function encode(mixed $value): string
    {
        return $this->serializer === null ? \serialize($value) : $this->serializer->encode($value);
    }

    /** @internal */
    public function decode(string $bytes, string|int $key): mixed
    {
        // Counters are decimal text, whatever the serializer; none of the serializers makes such a text of a value.
        if (\strlen($bytes) < 21 && \preg_match('/^-?\d+$/D', $bytes)) {
            return (int) $bytes;
        }
        if ($this->serializer !== null) {
            try {
                return $this->serializer->decode($bytes);
            } catch (ProtocolException $e) {
                throw new ProtocolException("\"$key\" of $this->storage: " . $e->getMessage(), 0, $e);
            }
        }
        $value = @\unserialize($bytes);
        if ($value === false && $bytes !== 'b:0;') {
            throw new ProtocolException("the value of \"$key\" was not stored by serialize()");
        }

        return $value;
    }

    /** A call that waits must be answered before its connection gives up. */
    private function patience(float $milliseconds): int
    {
        $timeout = $this->rpc->timeout;

        return (int) \ceil(\min($milliseconds, $timeout > 0 ? \max(1, $timeout * 1000 - 1000) : \INF));
    }

    private function call(string $method, string $fields): string
    {
        return $this->bytes($method, $this->packed . $fields, "\x80");
    }

    private function bytes(string $method, string $message, string $codec): string
    {
        try {
            return $this->rpc->callBytes($codec, $method, $message);
        } catch (UnknownMethodException $e) {
            throw $e;
        } catch (RPCException $e) {
            throw self::failed($e);
        }
    }

    private static function failed(RPCException $e): KVException
    {
        return \str_contains($e->getMessage(), 'no such storage')
            ? new StorageNotFoundException($e->getMessage(), $e->method)
            : new KVException($e->getMessage(), $e->method);
    }

    /** Packs an item of a request: {1: key, 2: value, 3: timeout}, field 2 of it. */
    private static function item(string $key, string $value = '', string $timeout = ''): string
    {
        $size = \strlen($key);
        $item = "\x0a" . ($size < 128 ? \chr($size) : Message::length($size)) . $key;
        if ($value !== '') {
            $size = \strlen($value);
            $item .= "\x12" . ($size < 128 ? \chr($size) : Message::length($size)) . $value;
        }
        if ($timeout !== '') {
            $item .= "\x1a" . \chr(\strlen($timeout)) . $timeout;
        }
        $size = \strlen($item);

        return "\x12" . ($size < 128 ? \chr($size) : Message::length($size)) . $item;
    }

    /**
     * The values of an answer by key.
     *
     * @return array<string, string>
     */
    private static function values(string $answer): array
    {
        $out = [];
        $end = \strlen($answer);
        $ord = self::$ord ?: self::ordinals();
        for ($i = 0; $i < $end; $i = $stop) {
            // The usual item: a key of less than 128 bytes and a value of less than 16 KiB. Looking a byte up is quicker than ord().
            $start = $i;
            $size = $ord[$answer[$i + 1] ?? ''];
            if ($size > 127) {
                $size = $size & 0x7f | $ord[$answer[$i + 2] ?? ''] << 7;
                ++$i;
            }
            $stop = $i + 2 + $size;
            if ($size < 4 || $size > 16383 || $stop > $end || ($length = $ord[$answer[$i + 3]]) > 127 || $length + 4 > $size) {
                return $out + self::general(\substr($answer, $start));
            }
            $key = \substr($answer, $i + 4, $length);
            $i += $length + 5;
            $length = $ord[$answer[$i++]];
            if ($length > 127) {
                $length = $length & 0x7f | $ord[$answer[$i++] ?? ''] << 7;
            }
            if ($i + $length !== $stop) {
                return $out + self::general(\substr($answer, $start));
            }
            $out[$key] = \substr($answer, $i, $length);
        }

        return $out;
    }

    /** @var array<string|int, int> The value of a byte; 0 for none. */
    private static array $ord = [];

    /** @return array<string|int, int> */
    private static function ordinals(): array
    {
        self::$ord = ['' => 0];
        for ($byte = 0; $byte < 256; ++$byte) {
            self::$ord[\chr($byte)] = $byte;
        }

        return self::$ord;
    }

    /** @var array<int, string> What stands before a key of a size in a request. */
    private static array $heads = [];

    private static function head(int $size): string
    {
        $inner = "\x0a" . Message::length($size);
        $head = "\x12" . Message::length(\strlen($inner) + $size) . $inner;

        return $size < 256 ? self::$heads[$size] = $head : $head;
    }

    /** @return array<string, string> */
    private static function general(string $answer): array
    {
        $out = [];
        foreach (self::items($answer) as [$key, $value]) {
            $out[$key] = $value;
        }

        return $out;
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

    /**
     * How long from now: 0 is for ever, what is over is negative.
     *
     * @internal
     */
    public static function milliseconds(int|float|\DateInterval|\DateTimeInterface|null $ttl): int
    {
        if ($ttl === null) {
            return 0;
        }
        if ($ttl instanceof \DateInterval) {
            $ttl = (new \DateTimeImmutable())->add($ttl);
        }
        $left = $ttl instanceof \DateTimeInterface ? (float) $ttl->format('U.u') - \microtime(true) : (float) $ttl;

        return $left <= 0 ? -1 : (int) \ceil(\min($left, 9e12) * 1000);
    }
}
