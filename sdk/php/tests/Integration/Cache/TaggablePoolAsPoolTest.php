<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\CachePoolTest;
use Edge\Cache\TaggablePool;
use Edge\KV;

/** A pool with tags is a pool. */
final class TaggablePoolAsPoolTest extends CachePoolTest
{
    public function createCachePool(): TaggablePool
    {
        return new TaggablePool(new KV('cache'), 'tagged');
    }
}
