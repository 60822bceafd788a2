<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\HttpCacheException;
use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;

/**
 * Purges the response caches of the server (http.cache), and makes the headers by which answers are stored there:
 *
 *     return new Response(200, HttpCache::headers(maxAge: 300, tags: ['article-7', 'news'], staleWhileRevalidate: 60), $page);
 *
 *     (new HttpCache())->purgeTags('article-7');   // when the article has changed
 *
 * When a call returns, no server that shares the store serves what was purged, nor stores what is made of it at that moment. Purge
 * after the database has committed.
 */
final class HttpCache
{
    private readonly RPC $rpc;

    /** @param string $cache a name of http.cache; all of them by default */
    public function __construct(private readonly string $cache = '', ?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? RPC::shared();
    }

    /** Purges answers that have one of the tags, however many they are, at the cost of one. */
    public function purgeTags(string ...$tags): void
    {
        $this->purge(['tags' => \array_values($tags)]);
    }

    /** Purges all answers of whole URLs, such as https://example.com/blog?page=2, over TLS or not. */
    public function purgeUrls(string ...$urls): void
    {
        $this->purge(['urls' => \array_values($urls)]);
    }

    /**
     * Purges answers of all URLs that begin so. It looks through all keys of the store, which takes its time and is not possible on
     * memcached: tags are the better way where there are some.
     *
     * @return int how many entries that were
     */
    public function purgePrefix(string $prefix): int
    {
        return $this->purge(['prefixes' => [$prefix]]);
    }

    /** Purges everything. */
    public function purgeAll(): void
    {
        $this->purge(['all' => true]);
    }

    /**
     * The headers of an answer that is stored for everybody.
     *
     * @param int      $maxAge               seconds in the cache of the server
     * @param int      $browser              seconds in the browser, where nothing can be purged
     * @param string[] $tags                 by which it is purged; without comma
     * @param int|null $staleWhileRevalidate seconds after $maxAge in which the old answer is served while a new one is fetched
     * @param int|null $staleIfError         seconds after $maxAge in which the old answer is served if the application fails
     *
     * @return array<string, string>
     */
    public static function headers(int $maxAge, int $browser = 0, array $tags = [], ?int $staleWhileRevalidate = null, ?int $staleIfError = null): array
    {
        $control = "public, max-age=$browser, s-maxage=$maxAge"
            . ($staleWhileRevalidate === null ? '' : ", stale-while-revalidate=$staleWhileRevalidate")
            . ($staleIfError === null ? '' : ", stale-if-error=$staleIfError");
        foreach ($tags as $tag) {
            if ($tag === '' || \strlen($tag) > 512 || \strpbrk($tag, ",\r\n") !== false || \trim($tag) !== $tag) {
                throw new \InvalidArgumentException("not a tag: '$tag'; a tag has 1 to 512 bytes, no comma, and no space around it");
            }
        }
        if (\count($tags) > 200) {
            throw new \InvalidArgumentException(\count($tags) . ' tags on one answer, at most 200: it would not be stored');
        }

        return ['Cache-Control' => $control] + ($tags === [] ? [] : ['Cache-Tag' => \implode(',', $tags)]);
    }

    /** @param array<string, mixed> $what */
    private function purge(array $what): int
    {
        if (\reset($what) === []) {
            return 0;
        }
        try {
            return $this->rpc->call('httpcache.Purge', ['cache' => $this->cache] + $what)['purged'];
        } catch (UnknownMethodException $e) {
            throw new HttpCacheException('the server is too old for httpcache.Purge', $e->method);
        } catch (RPCException $e) {
            throw new HttpCacheException($e->getMessage(), $e->method);
        }
    }
}
