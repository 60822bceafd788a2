<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\SimpleCacheTest;
use Edge\KV;
use Edge\SimpleCache;

/** The public suite for PSR-16. */
final class Psr16Test extends SimpleCacheTest
{
    public function createSimpleCache(): SimpleCache
    {
        return new SimpleCache(new KV('cache'));
    }
}
