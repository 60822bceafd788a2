<?php

declare(strict_types=1);

namespace Edge\Cache;

use Cache\TagInterop\TaggableCacheItemPoolInterface;
use Psr\Cache\CacheItemInterface;

/**
 * A Pool whose items have tags, after cache/tag-interop. Tags are the server's: however many items are under one, it is one small
 * write to invalidate it.
 */
final class TaggablePool extends Pool implements TaggableCacheItemPoolInterface
{
    /** @param string $key */
    public function getItem($key): CacheItemInterface
    {
        return parent::getItem($key);
    }

    /** @return iterable<string, CacheItemInterface> */
    public function getItems(array $keys = []): iterable
    {
        return parent::getItems($keys);
    }

    /** @param string $tag */
    public function invalidateTag($tag): bool
    {
        return $this->invalidateTags([$tag]);
    }

    public function invalidateTags(array $tags): bool
    {
        foreach ($tags as $tag) {
            self::checkTag($tag);
        }
        $this->commit();

        return $tags === [] || $this->attempt(function () use ($tags): bool {
            $this->kv->invalidateTags(...\array_values($tags));

            return true;
        }, false);
    }

    /** @internal */
    public static function checkTag(mixed $tag): void
    {
        self::check($tag, 'a tag');
    }

    protected function write(array $values, ?float $ttl): void
    {
        $plain = [];
        $batch = $this->kv->batch();
        foreach ($values as $key => $value) {
            if ($value['tags'] === []) {
                $plain[$key] = $value;
            } else {
                $batch->setTagged((string) $key, $value, $value['tags'], $ttl);
            }
        }
        parent::write($plain, $ttl);
        $batch->run();
    }

    protected function make(string $key, mixed $value, bool $hit): Item
    {
        return new TaggableItem($key, $value, $hit);
    }
}
