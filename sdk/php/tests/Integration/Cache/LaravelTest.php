<?php

declare(strict_types=1);

namespace Edge\Tests\Integration\Cache;

use Edge\KV;
use Edge\Laravel\CacheServiceProvider;
use Edge\Laravel\CacheStore;
use Edge\Session\Handler;
use Illuminate\Cache\CacheManager;
use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\Repository;
use Illuminate\Config\Repository as Config;
use Illuminate\Contracts\Cache\LockTimeoutException;
use Illuminate\Events\Dispatcher;
use Illuminate\Foundation\Application;
use Illuminate\Session\SessionManager;
use PHPUnit\Framework\TestCase;

/** Laravel's own cache and session packages on the driver "edge". */
final class LaravelTest extends TestCase
{
    private Application $app;
    private Repository $cache;

    protected function setUp(): void
    {
        $this->app = new Application(\sys_get_temp_dir());
        $this->app->instance('config', new Config([
            'cache' => ['default' => 'edge', 'prefix' => 'shop_', 'stores' => [
                'edge' => ['driver' => 'edge', 'storage' => 'cache'],
                'packed' => ['driver' => 'edge', 'storage' => 'cache', 'prefix' => 'packed:', 'serializer' => 'igbinary'],
            ]],
            'session' => [
                'driver' => 'edge', 'connection' => 'main', 'lifetime' => 120, 'cookie' => 'shop', 'encrypt' => false, 'serialization' => 'php',
            ],
        ]));
        $this->app->singleton('cache', static fn ($app) => new CacheManager($app));
        $this->app->singleton('session', static fn ($app) => new SessionManager($app));
        $this->app->instance('events', new Dispatcher($this->app));
        $this->app->register(CacheServiceProvider::class);
        $this->app->boot();
        $this->cache = $this->app['cache']->store();
        $this->cache->flush();
        (new KV('main'))->clear();
    }

    public function testStore(): void
    {
        self::assertInstanceOf(CacheStore::class, $this->cache->getStore());
        self::assertTrue($this->cache->put('a', ['x' => 1], 60));
        self::assertSame(['x' => 1], $this->cache->get('a'));
        self::assertSame('d', $this->cache->get('none', 'd'));
        self::assertSame(['a' => ['x' => 1], 'none' => null], $this->cache->many(['a', 'none']));
        self::assertTrue($this->cache->putMany(['b' => 2, 'c' => 'three'], 60));
        self::assertSame([2, 'three'], [$this->cache->get('b'), $this->cache->pull('c')]);
        self::assertFalse($this->cache->has('c'));
        self::assertTrue($this->cache->add('d', 1, 60));
        self::assertFalse($this->cache->add('d', 2, 60));
        self::assertSame(1, $this->cache->get('d'));
        self::assertTrue($this->cache->forever('e', true));
        self::assertSame(\INF, (new KV('cache'))->remaining('shop_e'));
        self::assertTrue($this->cache->forget('e'));
        self::assertFalse($this->cache->forget('e'));
        self::assertSame('made', $this->cache->remember('f', 60, static fn () => 'made'));
        self::assertSame('made', $this->cache->remember('f', 60, static fn () => 'made again'));
        self::assertTrue($this->cache->flush());
        self::assertNull($this->cache->get('f'));

        $packed = $this->app['cache']->store('packed');
        self::assertTrue($packed->put('a', [1.5], 60));
        self::assertSame([1.5], $packed->get('a'));
        self::assertNull($this->cache->get('a'));
    }

    public function testCounters(): void
    {
        $this->cache->put('n', 5, 60);
        self::assertSame(7, $this->cache->increment('n', 2));
        self::assertSame(6, $this->cache->decrement('n'));
        self::assertSame(6, $this->cache->get('n'));
        self::assertSame(1, $this->cache->increment('new'));
        $this->cache->put('text', 'no number', 60);
        self::assertFalse($this->cache->increment('text'));

        $limiter = new RateLimiter($this->cache);
        for ($i = 0; $i < 3; ++$i) {
            self::assertFalse($limiter->tooManyAttempts('login', 3));
            $limiter->hit('login', 60);
        }
        self::assertTrue($limiter->tooManyAttempts('login', 3));
        self::assertGreaterThan(0, $limiter->availableIn('login'));
    }

    public function testTags(): void
    {
        $this->cache->tags(['people', 'artists'])->put('jane', 1, 60);
        $this->cache->tags(['people', 'authors'])->forever('anne', 2);
        $this->cache->tags('people')->increment('count', 3);
        self::assertSame(1, $this->cache->tags(['people', 'artists'])->get('jane'));
        self::assertNull($this->cache->get('jane'));
        $this->cache->tags('authors')->flush();
        self::assertNull($this->cache->tags(['people', 'authors'])->get('anne'));
        self::assertSame(1, $this->cache->tags(['people', 'artists'])->get('jane'));
        $this->cache->tags(['people'])->flush();
        self::assertNull($this->cache->tags(['people', 'artists'])->get('jane'));
        self::assertNull($this->cache->tags('people')->get('count'));
    }

    public function testLocks(): void
    {
        $lock = $this->cache->lock('import', 60);
        self::assertTrue($lock->get());
        $other = $this->cache->lock('import', 60);
        self::assertFalse($other->get());
        self::assertFalse($other->release(), 'the lock of somebody else');
        self::assertTrue($this->cache->restoreLock('import', $lock->owner())->release());
        self::assertSame('ran', $other->get(static fn () => 'ran'));
        self::assertTrue($other->get(), 'it was given back');
        try {
            $lock->betweenBlockedAttemptsSleepFor(10)->block(0);
            self::fail('the lock was given twice');
        } catch (LockTimeoutException) {
            $lock->forceRelease();
        }
        self::assertTrue($lock->block(1));

        $short = $this->cache->lock('short', 1);
        self::assertTrue($short->get());
        self::assertLessThanOrEqual(1, (new KV('cache'))->remaining('shop_short'));
        $endless = $this->cache->lock('endless');
        self::assertTrue($endless->get());
        self::assertSame(\INF, (new KV('cache'))->remaining('shop_endless'));
    }

    public function testSessions(): void
    {
        $session = $this->app['session']->driver();
        self::assertInstanceOf(Handler::class, $session->getHandler());
        $session->start();
        $session->put('cart', [1, 2]);
        $session->save();
        $id = $session->getId();
        self::assertEqualsWithDelta(7200, (new KV('main'))->remaining("session.$id"), 60);

        $again = $this->app['session']->driver();
        $again->setId($id);
        $again->start();
        self::assertSame([1, 2], $again->get('cart'));
        $again->invalidate();
        self::assertFalse((new KV('main'))->has("session.$id"));
    }
}
