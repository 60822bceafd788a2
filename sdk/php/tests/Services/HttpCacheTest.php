<?php

declare(strict_types=1);

namespace Edge\Tests\Services;

use Edge\Exception\HttpCacheException;
use Edge\HttpCache;
use PHPUnit\Framework\TestCase;

/** Purges the cache of a whole server; what that does to answers is tested with workers, in core/httpcache_test.go. */
final class HttpCacheTest extends TestCase
{
    public static function setUpBeforeClass(): void
    {
        if (getenv('EDGE_RPC') === false) {
            self::markTestSkipped('EDGE_RPC is not set: run "go test ./sdk/php"');
        }
    }

    public function testPurge(): void
    {
        foreach ([new HttpCache(), new HttpCache('pages')] as $cache) {
            $cache->purgeTags('news', 'article 7', 'ü');
            $cache->purgeTags();
            $cache->purgeUrls('https://example.com/blog?page=2', 'http://example.com/');
            self::assertSame(0, $cache->purgePrefix('https://example.com/blog/'));
            $cache->purgeAll();
        }
    }

    /** @dataProvider mistakes */
    public function testMistakes(callable $purge, string $message): void
    {
        $this->expectException(HttpCacheException::class);
        $this->expectExceptionMessage($message);
        $purge();
    }

    public static function mistakes(): array
    {
        return [
            [fn () => (new HttpCache('others'))->purgeAll(), 'there is no cache "others" in http.cache, which has 1: pages'],
            [fn () => (new HttpCache())->purgeTags('a,b'), '"a,b" is no tag'],
            [fn () => (new HttpCache())->purgeTags(''), 'is no tag'],
            [fn () => (new HttpCache())->purgeUrls('/blog'), '"/blog" is no URL with a host'],
            [fn () => (new HttpCache())->purgePrefix('example.com'), 'is no URL with a host'],
        ];
    }

    public function testHeaders(): void
    {
        self::assertSame(
            ['Cache-Control' => 'public, max-age=5, s-maxage=300, stale-while-revalidate=60, stale-if-error=600', 'Cache-Tag' => 'news,article 7'],
            HttpCache::headers(300, browser: 5, tags: ['news', 'article 7'], staleWhileRevalidate: 60, staleIfError: 600),
        );
        self::assertSame(['Cache-Control' => 'public, max-age=0, s-maxage=300'], HttpCache::headers(300));
        foreach ([['a,b'], [''], ["a\nb"], [' a'], array_map('strval', range(1, 201))] as $tags) {
            try {
                HttpCache::headers(300, tags: $tags);
                self::fail('tags are taken that cannot be purged');
            } catch (\InvalidArgumentException $e) {
                self::assertStringContainsString('tag', $e->getMessage());
            }
        }
    }
}
