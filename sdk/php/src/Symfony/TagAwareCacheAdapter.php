<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\Exception\KVException;
use Edge\KV;
use Symfony\Component\Cache\Adapter\AbstractTagAwareAdapter;

/**
 * The CacheAdapter with tags. They are the server's: one call reads a value and knows whether one of its tags was invalidated, and
 * one small write invalidates a tag, however many values are under it.
 */
class TagAwareCacheAdapter extends AbstractTagAwareAdapter
{
    use CacheOperations;

    /** Symfony's, for the ids of tags. */
    private const TAGS_PREFIX = "\0tags\0";

    private readonly string $prefix;

    /** @param int $defaultLifetime seconds for items that do not say theirs; 0 is for ever */
    public function __construct(KV|string $storage, string $namespace = '', int $defaultLifetime = 0)
    {
        $this->kv = $storage instanceof KV ? $storage : new KV($storage);
        $this->prefix = $namespace === '' ? '' : $namespace . ':';
        parent::__construct($namespace, $defaultLifetime);
    }

    protected function doSave(array $values, int $lifetime, array $addTagData = [], array $removeTagData = []): array
    {
        $ttl = $lifetime > 0 ? $lifetime : null;
        $plain = [];
        $tagged = [];
        $batch = $this->kv->batch();
        foreach ($values as $id => $value) {
            if (($value['tags'] ?? []) === []) {
                $plain[$id] = $value;
                continue;
            }
            $tagged[] = $id;
            $batch->setTagged((string) $id, $value, \array_map(fn ($tag) => $this->prefix . self::TAGS_PREFIX . $tag, \array_values($value['tags'])), $ttl);
        }
        $this->kv->setMultiple($plain, $ttl);
        $failed = [];
        foreach ($batch->run() as $i => $result) {
            if ($result instanceof KVException) {
                $failed[] = $tagged[$i];
            }
        }

        return $failed;
    }

    /** The server does not list what is under a tag. */
    protected function doDeleteTagRelations(array $tagData): bool
    {
        return true;
    }

    protected function doInvalidate(array $tagIds): bool
    {
        $this->kv->invalidateTags(...$tagIds);

        return true;
    }
}
