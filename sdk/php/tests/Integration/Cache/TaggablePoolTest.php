<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\TaggableCachePoolTest;
use Edge\Cache\TaggablePool;
use Edge\KV;

/** The public suite for pools with tags. */
final class TaggablePoolTest extends TaggableCachePoolTest
{
    public function createCachePool(): TaggablePool
    {
        return new TaggablePool(new KV('cache'));
    }
}
