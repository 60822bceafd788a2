<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\Exception\KVException;
use Edge\KV;
use Illuminate\Cache\TaggableStore;
use Illuminate\Contracts\Cache\LockProvider;

/**
 * A storage of the server as a store of Laravel's cache, with tags and locks:
 *
 *     new CacheStore(new KV('cache', null, new Counting()), 'shop:');
 *
 * CacheServiceProvider makes it of config/cache.php.
 */
final class CacheStore extends TaggableStore implements LockProvider
{
    public function __construct(private readonly KV $kv, private string $prefix = '')
    {
    }

    public function kv(): KV
    {
        return $this->kv;
    }

    public function get($key): mixed
    {
        return $this->kv->get($this->prefix . $key);
    }

    public function many(array $keys): array
    {
        $values = $this->kv->getMultiple(\array_map(fn ($key) => $this->prefix . $key, $keys));
        $out = [];
        foreach ($keys as $key) {
            $out[$key] = $values[$this->prefix . $key];
        }

        return $out;
    }

    public function put($key, $value, $seconds): bool
    {
        $this->kv->set($this->prefix . $key, $value, \max(1, (int) $seconds));

        return true;
    }

    public function putMany(array $values, $seconds): bool
    {
        $all = [];
        foreach ($values as $key => $value) {
            $all[$this->prefix . $key] = $value;
        }
        $this->kv->setMultiple($all, \max(1, (int) $seconds));

        return true;
    }

    public function add($key, $value, $seconds): bool
    {
        return $this->kv->add($this->prefix . $key, $value, \max(1, (int) $seconds));
    }

    /** @return int|false false for a value that is no number */
    public function increment($key, $value = 1): int|bool
    {
        try {
            return $this->kv->increment($this->prefix . $key, (int) $value);
        } catch (KVException $e) {
            return \str_contains($e->getMessage(), 'not a decimal number') ? false : throw $e;
        }
    }

    public function decrement($key, $value = 1): int|bool
    {
        return $this->increment($key, -$value);
    }

    public function forever($key, $value): bool
    {
        $this->kv->set($this->prefix . $key, $value);

        return true;
    }

    /** Since Laravel 12: a key lives for another time. */
    public function touch($key, $seconds): bool
    {
        return $this->kv->touch($this->prefix . $key, \max(1, (int) $seconds));
    }

    public function forget($key): bool
    {
        return $this->kv->remove($this->prefix . $key);
    }

    /** Removes every key of the storage, as the other stores of Laravel do. */
    public function flush(): bool
    {
        $this->kv->clear();

        return true;
    }

    public function getPrefix(): string
    {
        return $this->prefix;
    }

    public function setPrefix($prefix): void
    {
        $this->prefix = (string) $prefix;
    }

    public function lock($name, $seconds = 0, $owner = null): CacheLock
    {
        return new CacheLock($this->kv, $this->prefix . $name, (int) $seconds, $owner);
    }

    public function restoreLock($name, $owner): CacheLock
    {
        return $this->lock($name, 0, $owner);
    }
}
