<?php

declare(strict_types=1);

namespace Edge\Cache;

use Edge\Exception\EdgeException;
use Edge\Exception\StorageNotFoundException;
use Edge\Exception\UnknownMethodException;
use Edge\KV;
use Psr\Cache\CacheItemInterface;
use Psr\Cache\CacheItemPoolInterface;

/**
 * A storage of the server as a PSR-6 cache pool. Needs psr/cache, of whatever version:
 *
 *     $pool = new Pool(new KV('cache'), 'shop');
 *
 * An outage is a miss, as PSR-6 wants it: reads find nothing and writes answer false; $report hears why. Items that were deferred
 * and not committed are when the pool goes.
 */
class Pool implements CacheItemPoolInterface
{
    /** @var array<string, Item> */
    private array $deferred = [];

    /**
     * @param string                           $namespace  a prefix of all keys; clear() of a pool with one leaves the others' keys
     * @param int|null                         $lifetime   seconds for items that do not say theirs; null is for ever
     * @param (\Closure(EdgeException): void)|null $report what went wrong and was taken for a miss
     */
    public function __construct(
        protected readonly KV $kv,
        private readonly string $namespace = '',
        protected readonly ?int $lifetime = null,
        private readonly ?\Closure $report = null,
    ) {
        if ($namespace !== '') {
            self::check($namespace, 'a namespace');
        }
    }

    public function __destruct()
    {
        $this->commit();
    }

    /** @param string $key */
    public function getItem($key): CacheItemInterface
    {
        self::check($key, 'a key');
        if (isset($this->deferred[$key])) {
            return $this->deferred[$key]->saved();
        }
        // An object of its own tells a stored null from nothing.
        $none = $this;
        $value = $this->attempt(fn () => $this->kv->get($this->id($key), $none), $none);

        return $value === $none ? $this->make($key, null, false) : $this->make($key, $value, true);
    }

    /** @return iterable<string, CacheItemInterface> */
    public function getItems(array $keys = []): iterable
    {
        $ids = [];
        foreach ($keys as $key) {
            self::check($key, 'a key');
            $ids[$key] = $this->id($key);
        }
        if ($ids === []) {
            return [];
        }
        $none = $this;
        $values = $this->attempt(fn () => $this->kv->getMultiple($ids, $none), []);
        $items = [];
        foreach ($ids as $key => $id) {
            $key = (string) $key;
            $value = $values[$id] ?? (\array_key_exists($id, $values) ? null : $none);
            $items[$key] = match (true) {
                isset($this->deferred[$key]) => $this->deferred[$key]->saved(),
                $value === $none => $this->make($key, null, false),
                default => $this->make($key, $value, true),
            };
        }

        return $items;
    }

    /** @param string $key */
    public function hasItem($key): bool
    {
        self::check($key, 'a key');

        return isset($this->deferred[$key]) ? $this->deferred[$key]->saved()->isHit() : $this->attempt(fn () => $this->kv->has($this->id($key)), false);
    }

    public function clear(): bool
    {
        $this->deferred = [];

        return $this->attempt(function (): bool {
            if ($this->namespace === '') {
                $this->kv->clear();

                return true;
            }
            $keys = \iterator_to_array($this->kv->scan($this->namespace . '.'), false);
            foreach (\array_chunk($keys, 1000) as $some) {
                $this->kv->deleteMultiple($some);
            }

            return true;
        }, false);
    }

    /** @param string $key */
    public function deleteItem($key): bool
    {
        return $this->deleteItems([$key]);
    }

    public function deleteItems(array $keys): bool
    {
        $ids = [];
        foreach ($keys as $key) {
            self::check($key, 'a key');
            $ids[] = $this->id($key);
        }
        foreach ($keys as $key) {
            unset($this->deferred[$key]);
        }

        return $this->attempt(function () use ($ids): bool {
            $this->kv->deleteMultiple($ids);

            return true;
        }, false);
    }

    public function save(CacheItemInterface $item): bool
    {
        $item = self::own($item);
        unset($this->deferred[$item->getKey()]);

        return $this->store([$item]);
    }

    public function saveDeferred(CacheItemInterface $item): bool
    {
        $item = self::own($item);
        $this->deferred[$item->getKey()] = clone $item;

        return true;
    }

    public function commit(): bool
    {
        $items = $this->deferred;
        $this->deferred = [];

        return $items === [] || $this->store($items);
    }

    /** Items of one lifetime go in one call. */
    private function store(array $items): bool
    {
        return $this->attempt(function () use ($items): bool {
            $groups = [];
            foreach ($items as $item) {
                [$value, $ttl] = $item->toStore($this->lifetime);
                $groups[$ttl === null ? '' : \sprintf('%.3f', $ttl)][$this->id($item->getKey())] = $value;
            }
            foreach ($groups as $ttl => $values) {
                $this->write($values, $ttl === '' ? null : (float) $ttl);
            }

            return true;
        }, false);
    }

    /** @param array<string, mixed> $values */
    protected function write(array $values, ?float $ttl): void
    {
        $this->kv->setMultiple($values, $ttl);
    }

    protected function make(string $key, mixed $value, bool $hit): Item
    {
        return new Item($key, $value, $hit);
    }

    private function id(string|int $key): string
    {
        return $this->namespace === '' ? (string) $key : "$this->namespace.$key";
    }

    private static function own(CacheItemInterface $item): Item
    {
        return $item instanceof Item ? $item : throw new InvalidArgument('an item of another pool cannot be saved: ' . \get_debug_type($item));
    }

    /** @internal */
    protected static function check(mixed $name, string $what): void
    {
        if (!\is_string($name) || \trim($name) === '' || \strpbrk($name, '{}()/\@:') !== false || !\preg_match('//u', $name)) {
            $shown = \is_string($name) ? "\"$name\"" : \get_debug_type($name);
            throw new InvalidArgument("$shown is not $what: write a UTF-8 text that is not blank and has none of {}()/\\@:");
        }
    }

    /**
     * @template T
     *
     * @param \Closure(): T $operation
     * @param T             $otherwise
     *
     * @return T
     */
    protected function attempt(\Closure $operation, mixed $otherwise): mixed
    {
        try {
            return $operation();
        } catch (StorageNotFoundException | UnknownMethodException $e) {
            throw new Failure($e->getMessage(), 0, $e);
        } catch (EdgeException $e) {
            if ($this->report !== null) {
                ($this->report)($e);
            }

            return $otherwise;
        }
    }
}
