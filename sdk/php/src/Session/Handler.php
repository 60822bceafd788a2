<?php

declare(strict_types=1);

namespace Edge\Session;

use Edge\Exception\EdgeException;
use Edge\Exception\KVException;
use Edge\KV;
use Edge\KV\Lock;

/**
 * PHP's sessions in a storage of the server, for session_set_save_handler(), Symfony and Laravel.
 *
 * A session is locked from read() to close(), as PHP's own files are: two requests of one user do not lose each other's changes.
 * Laravel never closes a session, so there $wait must be null, which means no locks.
 */
final class Handler implements \SessionHandlerInterface, \SessionUpdateTimestampHandlerInterface
{
    private readonly KV $kv;
    private ?Lock $lock = null;

    /**
     * @param int|null   $lifetime seconds that a session lives unused; null is session.gc_maxlifetime
     * @param float|null $wait     seconds to wait for a locked session, null for no locks
     * @param float      $lease    seconds after which a lock ends by itself: more than any request takes
     */
    public function __construct(
        KV|string $storage,
        private readonly ?int $lifetime = null,
        private readonly string $prefix = 'session.',
        private readonly ?float $wait = 10,
        private readonly float $lease = 60,
    ) {
        $this->kv = $storage instanceof KV ? $storage : new KV($storage);
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        $lock = $this->lock;
        $this->lock = null;
        try {
            $lock?->release();
        } catch (EdgeException) {
            // It ends by itself; what was written is written.
        }

        return true;
    }

    public function read(string $id): string
    {
        $this->take($id);
        $data = $this->kv->get($this->prefix . $id);

        return \is_string($data) ? $data : '';
    }

    public function write(string $id, string $data): bool
    {
        $this->take($id);
        $this->kv->set($this->prefix . $id, $data, $this->lifetime());

        return true;
    }

    public function destroy(string $id): bool
    {
        $this->kv->delete($this->prefix . $id);

        return true;
    }

    /** Sessions end by themselves. */
    public function gc(int $max_lifetime): int
    {
        return 0;
    }

    /** Whether a client may name the session: only one that exists, see session.use_strict_mode. */
    public function validateId(string $id): bool
    {
        return $id !== '' && $this->kv->has($this->prefix . $id);
    }

    /** Lets a session that did not change live on. */
    public function updateTimestamp(string $id, string $data): bool
    {
        $this->kv->expire($this->prefix . $id, $this->lifetime());

        return true;
    }

    private function take(string $id): void
    {
        if ($this->wait === null || $this->lock?->name === $this->prefix . $id) {
            return;
        }
        $this->close(); // PHP goes on with another id after session_regenerate_id()
        $this->lock = $this->kv->lock($this->prefix . $id, $this->lease, $this->wait);
        if ($this->lock === null) {
            throw new KVException("the session is locked by another request for more than $this->wait s", 'kv.Lock');
        }
    }

    private function lifetime(): int
    {
        return $this->lifetime ?? (int) \ini_get('session.gc_maxlifetime');
    }
}
