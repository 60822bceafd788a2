<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\CachePoolTest;
use Edge\Symfony\CacheAdapter;

/** The public suite for Symfony's pools on a storage. */
final class SymfonyPoolTest extends CachePoolTest
{
    public function createCachePool(): CacheAdapter
    {
        return new CacheAdapter('cache', 'app');
    }
}
