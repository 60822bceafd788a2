<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\KV;
use Symfony\Component\Cache\Adapter\AbstractAdapter;

/** A storage of the server as an adapter of Symfony's cache: what cache.app and pools of an application are made of. */
class CacheAdapter extends AbstractAdapter
{
    use CacheOperations;

    /** @param int $defaultLifetime seconds for items that do not say theirs; 0 is for ever */
    public function __construct(KV|string $storage, string $namespace = '', int $defaultLifetime = 0)
    {
        $this->kv = $storage instanceof KV ? $storage : new KV($storage);
        parent::__construct($namespace, $defaultLifetime);
    }

    protected function doSave(array $values, int $lifetime): array|bool
    {
        $this->kv->setMultiple($values, $lifetime > 0 ? $lifetime : null);

        return true;
    }
}
