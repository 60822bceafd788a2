<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\KV;
use Edge\SimpleCache;
use PHPUnit\Framework\TestCase;
use Psr\SimpleCache\CacheException;
use Psr\SimpleCache\CacheInterface;
use Psr\SimpleCache\InvalidArgumentException;

final class SimpleCacheTest extends TestCase
{
    private CacheInterface $cache;

    protected function setUp(): void
    {
        if (getenv('EDGE_RPC') === false) {
            self::markTestSkipped('EDGE_RPC is not set: run "go test ./sdk/php"');
        }
        $this->cache = new SimpleCache(new KV('cache'));
        $this->cache->clear();
    }

    public function testContract(): void
    {
        $cache = $this->cache;
        self::assertTrue($cache->set('a', [1]));
        self::assertSame([1], $cache->get('a'));
        self::assertSame('d', $cache->get('missing', 'd'));
        self::assertTrue($cache->has('a'));
        self::assertTrue($cache->delete('a'));
        self::assertFalse($cache->has('a'));
        self::assertTrue($cache->setMultiple(['b' => 1, '7' => 2], 60));
        self::assertSame(['b' => 1, '7' => 2, 'c' => null], $cache->getMultiple((fn () => yield from ['b', '7', 'c'])()));
        self::assertTrue($cache->deleteMultiple(['b']));
        self::assertTrue($cache->set('7', 3, new \DateInterval('PT1M')));
        self::assertSame(3, $cache->get('7'));
        self::assertTrue($cache->set('7', 4, 0));
        self::assertFalse($cache->has('7'));
        self::assertTrue($cache->clear());
    }

    public function testInvalidArguments(): void
    {
        $calls = [];
        foreach (['', ' ', '{a', 'a/b', 'a:b', "\xff", 7, null, [], new \stdClass()] as $key) {
            $calls[] = fn () => $this->cache->get($key);
            $calls[] = fn () => $this->cache->set($key, 1);
            $calls[] = fn () => $this->cache->has($key);
            $calls[] = fn () => $this->cache->delete($key);
            $calls[] = fn () => $this->cache->getMultiple([$key]);
            $calls[] = fn () => $this->cache->deleteMultiple([$key]);
        }
        $calls[] = fn () => $this->cache->getMultiple('key');
        $calls[] = fn () => $this->cache->deleteMultiple('key');
        $calls[] = fn () => $this->cache->setMultiple('key');
        $calls[] = fn () => $this->cache->setMultiple(['a/b' => 1]);
        $calls[] = fn () => $this->cache->set('key', 1, 'tomorrow');
        $calls[] = fn () => $this->cache->setMultiple(['key' => 1], 1.5);
        foreach ($calls as $i => $call) {
            try {
                $call();
                self::fail("call $i was accepted");
            } catch (InvalidArgumentException) {
                $this->addToAssertionCount(1);
            }
        }
    }

    public function testFailuresAreCacheExceptions(): void
    {
        $this->expectException(CacheException::class);
        (new SimpleCache(new KV('nope')))->get('key');
    }
}
