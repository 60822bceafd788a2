<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Cache\IntegrationTests\CachePoolTest;
use Edge\KV;
use Edge\Symfony\CacheAdapter;
use Edge\Symfony\TagAwareCacheAdapter;
use Symfony\Component\Cache\Adapter\TagAwareAdapter;
use Symfony\Component\Cache\Psr16Cache;
use Symfony\Contracts\Cache\ItemInterface;
use Symfony\Contracts\Cache\TagAwareCacheInterface;

/** The same for the adapter with tags, and what Symfony's tags promise. */
final class SymfonyTagsTest extends CachePoolTest
{
    public function createCachePool(): TagAwareCacheAdapter
    {
        return new TagAwareCacheAdapter('cache', 'app');
    }

    /** @return iterable<string, array{\Closure(): TagAwareCacheInterface}> */
    public static function adapters(): iterable
    {
        yield 'tags of the server' => [static fn () => new TagAwareCacheAdapter('cache', 'app')];
        yield "Symfony's own tags" => [static fn () => new TagAwareAdapter(new CacheAdapter('cache', 'app'), new CacheAdapter('cache', 'tags'), 0)];
    }

    /** @dataProvider adapters */
    public function testTags(\Closure $make): void
    {
        $cache = $make();
        $calls = 0;
        $get = static function (string $key, string ...$tags) use ($cache, &$calls): string {
            return $cache->get($key, static function (ItemInterface $item) use ($key, $tags, &$calls): string {
                ++$calls;
                $item->tag($tags);

                return "value of $key";
            });
        };
        foreach ([1, 2] as $_) {
            self::assertSame('value of a', $get('a', 'red'));
            self::assertSame('value of b', $get('b', 'red', 'blue'));
            self::assertSame('value of c', $get('c', 'blue'));
            self::assertSame('value of d', $get('d'));
        }
        self::assertSame(4, $calls);

        // Another process invalidates.
        self::assertTrue($make()->invalidateTags(['red']));
        self::assertFalse($make()->getItem('a')->isHit());
        self::assertFalse($make()->getItem('b')->isHit());
        self::assertTrue($make()->getItem('c')->isHit());
        self::assertSame(['blue' => 'blue'], $make()->getItem('c')->getMetadata()['tags']);
        self::assertTrue($make()->hasItem('d'));
        $get('a', 'red');
        $get('a', 'red');
        self::assertSame(5, $calls);

        // Tags that an item lost do not take it along.
        $item = $make()->getItem('c');
        $make()->save($item->tag(['green']));
        self::assertTrue($make()->invalidateTags(['blue']));
        self::assertTrue($make()->getItem('c')->isHit());
        self::assertTrue($make()->deleteItem('c'));
        self::assertFalse($make()->hasItem('c'));
    }

    public function testAsPsr16(): void
    {
        $cache = new Psr16Cache(new CacheAdapter('cache', 'simple', 60));
        self::assertTrue($cache->setMultiple(['a' => 1, 'b' => null], 10));
        self::assertSame(['a' => 1, 'b' => null, 'c' => 'd'], [...$cache->getMultiple(['a', 'b', 'c'], 'd')]);
        self::assertLessThanOrEqual(10, (new KV('cache'))->remaining('simple:a'));
    }
}
