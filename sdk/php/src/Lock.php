<?php

declare(strict_types=1);

namespace Edge;

use Edge\Http\Message;

/**
 * Locks of the server, or of all servers where lock.store says so: exclusive ones, and shared ones for readers.
 *
 *     $lock = new Lock();
 *     if ($lock->acquire('report', $id = bin2hex(random_bytes(8)), ttl: 30, wait: 5)) {
 *         try { … } finally { $lock->release('report', $id); }
 *     }
 *
 * Times are seconds with their fraction. A lock ends with its ttl, whatever its holder does: what must not be written by a holder
 * that has slept through that checks the token, which is larger for each later grant.
 */
final class Lock
{
    /** The token of the last grant; 0 when there was none. */
    public int $token = 0;

    private readonly RPC $rpc;

    public function __construct(?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /**
     * Takes a lock for one.
     *
     * @param string $id   who takes it; whoever knows it can give it back
     * @param float  $ttl  after which it ends; 0 is a year
     * @param float  $wait for it; 0 is a millisecond. It has to be shorter than the timeout of the RPC.
     */
    public function acquire(string $resource, string $id, float $ttl = 0, float $wait = 0): bool
    {
        return $this->call('lock.Lock', $resource, $id, $ttl, $wait);
    }

    /** Takes a lock for many: they exclude acquire(), and not each other. */
    public function acquireRead(string $resource, string $id, float $ttl = 0, float $wait = 0): bool
    {
        return $this->call('lock.LockRead', $resource, $id, $ttl, $wait);
    }

    /** Gives a lock back; false means that $id does not hold it. */
    public function release(string $resource, string $id): bool
    {
        return $this->call('lock.Release', $resource, $id);
    }

    /** Takes a resource from all who hold it; false means that nobody did. */
    public function forceRelease(string $resource): bool
    {
        return $this->call('lock.ForceRelease', $resource);
    }

    /** Whether $id, or anybody, holds the resource. */
    public function exists(string $resource, ?string $id = null): bool
    {
        return $this->call('lock.Exists', $resource, $id ?? '*');
    }

    /** Lets a lock end $ttl from now; false means that $id does not hold it. */
    public function updateTTL(string $resource, string $id, float $ttl): bool
    {
        return $this->call('lock.UpdateTTL', $resource, $id, $ttl);
    }

    private function call(string $method, string $resource, string $id = '', float $ttl = 0, float $wait = 0): bool
    {
        $answer = $this->rpc->callProto($method, self::text(1, $resource) . self::text(2, $id) . self::micros(3, $ttl) . self::micros(4, $wait));
        $this->token = 0;
        if (($answer[0] ?? '') !== "\x08" || $answer[1] !== "\x01") {
            return false;
        }
        if (($answer[2] ?? '') === "\x10") {
            for ($i = 3, $shift = 0, $more = true; $more && isset($answer[$i]); $i++, $shift += 7) {
                $byte = \ord($answer[$i]);
                $this->token |= ($byte & 0x7f) << $shift;
                $more = $byte > 0x7f;
            }
        }

        return true;
    }

    private static function text(int $field, string $text): string
    {
        return $text === '' ? '' : \chr($field << 3 | 2) . Message::length(\strlen($text)) . $text;
    }

    private static function micros(int $field, float $seconds): string
    {
        if ($seconds < 0) {
            throw new \InvalidArgumentException("a time must not be negative: $seconds seconds");
        }
        $micros = (int) \round($seconds * 1e6);

        return $micros === 0 ? '' : \chr($field << 3) . Message::length($micros);
    }
}
