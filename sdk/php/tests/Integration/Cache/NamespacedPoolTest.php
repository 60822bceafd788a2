<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\CachePoolTest;
use Edge\Cache\Failure;
use Edge\Cache\Pool;
use Edge\Exception\EdgeException;
use Edge\KV;
use Edge\RPC;
use Edge\Serializer\Igbinary;

/** The same suite for a pool with a namespace and igbinary. */
final class NamespacedPoolTest extends CachePoolTest
{
    public function createCachePool(): Pool
    {
        return new Pool(new KV('cache', null, new Igbinary()), 'shop');
    }

    public function testClearLeavesOthers(): void
    {
        $kv = new KV('cache');
        $kv->set('other', 1);
        $this->cache->save($this->cache->getItem('key')->set('value'));
        self::assertTrue($kv->has('shop.key'));
        self::assertTrue($this->cache->clear());
        self::assertFalse($kv->has('shop.key'));
        self::assertTrue($kv->has('other'));
        $kv->clear();
    }

    public function testAnOutageIsAMiss(): void
    {
        $heard = [];
        $report = static function (EdgeException $e) use (&$heard): void {
            $heard[] = $e->getMessage();
        };
        $pool = new Pool(new KV('cache', new RPC('unix:///nowhere/rpc.sock')), '', null, $report);
        self::assertFalse($pool->getItem('key')->isHit());
        self::assertFalse($pool->save($pool->getItem('key')->set(1)));
        self::assertFalse($pool->hasItem('key'));
        self::assertFalse($pool->clear());
        self::assertCount(5, $heard);
        self::assertStringContainsString('/nowhere/rpc.sock', $heard[0]);
    }

    public function testAMistakeIsNone(): void
    {
        $this->expectException(Failure::class);
        $this->expectExceptionMessage('no such storage: nope');
        (new Pool(new KV('nope')))->getItem('key');
    }
}
