<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\KV;
use Edge\Serializer\Counting;
use Edge\Serializer\Igbinary;
use Edge\Serializer\Sodium;
use Edge\Session\Handler;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\ServiceProvider;

/**
 * The driver "edge" of Laravel's cache and sessions:
 *
 *     'stores' => ['edge' => ['driver' => 'edge', 'storage' => 'cache']],   // config/cache.php
 *     'driver' => 'edge', 'connection' => 'sessions',                       // config/session.php
 *
 * A store takes 'prefix', and 'serializer': "igbinary", or a list of keys for Edge\Serializer\Sodium.
 */
final class CacheServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        // Laravel binds these functions to its managers, which takes `self` and private methods away from them.
        $this->callAfterResolving('cache', static function ($cache): void {
            $cache->extend('edge', fn (Container $app, array $config) => $cache->repository(CacheServiceProvider::store($app, $config)));
        });
        $this->callAfterResolving('session', static function ($session): void {
            $session->extend('edge', fn (Container $app) => CacheServiceProvider::sessions($app));
        });
    }

    /** @internal */
    public static function store(Container $app, array $config): CacheStore
    {
        $serializer = $config['serializer'] ?? null;
        $inner = match (true) {
            $serializer === null => null,
            $serializer === 'igbinary' => new Igbinary(),
            \is_array($serializer) => new Sodium($serializer),
            default => throw new \InvalidArgumentException('cache: serializer must be "igbinary" or a list of sodium keys'),
        };

        return new CacheStore(
            new KV($config['storage'] ?? 'cache', null, new Counting($inner)),
            $config['prefix'] ?? (string) $app['config']['cache.prefix'],
        );
    }

    /**
     * Laravel writes a session at the end of a request and never closes it: no locks here, see Route::block().
     *
     * @internal
     */
    public static function sessions(Container $app): Handler
    {
        $config = $app['config'];

        return new Handler($config['session.connection'] ?? 'sessions', 60 * (int) $config['session.lifetime'], wait: null);
    }
}
