<?php

declare(strict_types=1);

namespace Edge\KV;

use Edge\KV;

/** A lock that KV::lock() gave out. It ends by itself when its lease does. */
final class Lock
{
    /**
     * @internal
     *
     * @param int $fence grows with every lock that the storage gives out: let what the lock protects refuse smaller numbers
     */
    public function __construct(
        private readonly KV $kv,
        public readonly string $name,
        private readonly string $token,
        public readonly int $fence,
    ) {
    }

    /** Keeps the lock for another $lease seconds from now; false means that it is lost. */
    public function renew(float $lease): bool
    {
        return $this->kv->op('Renew', ['key' => $this->name, 'token' => $this->token, 'lease' => (int) \ceil($lease * 1000)])['ok'];
    }

    /** Gives the lock back; false means that it was lost before. */
    public function release(): bool
    {
        return $this->kv->op('Unlock', ['key' => $this->name, 'token' => $this->token])['ok'];
    }
}
