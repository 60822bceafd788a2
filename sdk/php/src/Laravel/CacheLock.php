<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\KV;
use Illuminate\Cache\Lock;

/**
 * Laravel's lock: a key that holds the name of the owner, so that another process can restore and release it. The key is added
 * when it is not there and removed when it still holds that name, each in one step.
 */
final class CacheLock extends Lock
{
    public function __construct(private readonly KV $kv, string $name, int $seconds, ?string $owner = null)
    {
        parent::__construct($name, $seconds, $owner);
    }

    public function acquire(): bool
    {
        return $this->kv->op('Add', ['key' => $this->name, 'value' => $this->owner, 'ttl' => $this->seconds > 0 ? $this->seconds * 1000 : 0])['ok'];
    }

    public function release(): bool
    {
        // A deadline that is over removes the key.
        return $this->kv->op('CompareAndSwap', ['key' => $this->name, 'expected' => $this->owner, 'ttl' => -1])['ok'];
    }

    public function forceRelease(): void
    {
        $this->kv->remove($this->name);
    }

    protected function getCurrentOwner(): string
    {
        return $this->kv->op('Get', ['key' => $this->name])['value'];
    }
}
