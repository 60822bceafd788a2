<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\SimpleCacheTest;
use Edge\KV;
use Edge\Serializer\Igbinary;
use Edge\Serializer\Sodium;
use Edge\SimpleCache;

/** The same suite for encrypted values. */
final class EncryptedPsr16Test extends SimpleCacheTest
{
    private static ?string $key = null;

    public function createSimpleCache(): SimpleCache
    {
        return new SimpleCache(new KV('cache', null, new Sodium(self::$key ??= Sodium::generateKey(), new Igbinary())));
    }
}
