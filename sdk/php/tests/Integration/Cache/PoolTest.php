<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\CachePoolTest;
use Edge\Cache\Pool;
use Edge\KV;

/** The public suite for PSR-6 pools. */
final class PoolTest extends CachePoolTest
{
    public function createCachePool(): Pool
    {
        return new Pool(new KV('cache'));
    }
}
