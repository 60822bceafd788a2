<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Carbon\Carbon;
use Illuminate\Container\Container;
use Illuminate\Contracts\Auth\Access\Gate;
use Illuminate\Contracts\Broadcasting\Factory as Broadcasting;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Pipeline\Hub;
use Illuminate\Contracts\Routing\ResponseFactory;
use Illuminate\Http\Request;
use Illuminate\Notifications\ChannelManager;
use Illuminate\Pagination\PaginationState;
use Illuminate\Support\Facades\Facade;
use Illuminate\Support\Once;
use Illuminate\Support\Str;

/**
 * Keeps requests apart. Each is handled by a clone of the application that booted once: what is bound or resolved during the
 * request goes with the clone. Services that were resolved before, and so are shared, are told about the clone when a request
 * comes, and are made again what they were when it is over.
 *
 * @internal
 */
final class Sandbox
{
    /** Shared services that hold the application, and how they are given another. Which of the methods exist depends on the version. */
    private const GIVE = [
        'cache' => 'setApplication',
        'db' => 'setApplication',
        'filesystem' => 'setApplication',
        'log' => 'setApplication',
        'mail.manager' => 'setApplication',
        'queue' => 'setApplication',
        'session' => 'setContainer',
        Broadcasting::class => 'setApplication',
        ChannelManager::class => 'setContainer',
        Gate::class => 'setContainer',
        Hub::class => 'setContainer',
    ];

    /** Shared services that keep something of a request, and the method that makes them forget it. */
    private const FORGET = [
        'auth' => 'forgetGuards',
        'mail.manager' => 'forgetMailers',
        ChannelManager::class => 'forgetDrivers',
    ];

    /** Shared services that become again what they were, with the properties that are only remembered results. */
    private const RESTORE = [
        'auth' => ['guards' => true],
        'config' => [],
        'cookie' => [],
        'events' => ['wildcardsCache' => true],
        'router' => ['sorted' => true, 'from' => true],
        'url' => [],
        'validator' => [],
        'view' => ['normalizedNameCache' => true, 'pathEngineCache' => true],
        Broadcasting::class => [], // its drivers know the channels of routes/channels.php, which was read at the boot
        ExceptionHandler::class => ['exceptionMap' => true],
        Dispatcher::class => [],
    ];

    /** What managers have made from a section of the configuration: if a request changes the section, it is made anew. */
    private const MADE_FROM = [
        'cache' => ['cache', 'stores'],
        'filesystems' => ['filesystem', 'disks'],
        'logging' => ['log', 'channels'],
        'queue' => ['queue', 'connections'],
        'session' => ['session', 'drivers'],
    ];

    /** What holds something of a manager's. */
    private const DERIVED = ['cache.store', 'session.store', 'redirect', ResponseFactory::class, 'filesystem.disk', 'filesystem.cloud', 'queue.connection'];

    /** @var list<string> bindings of the application's own that config('edge.flush') names */
    private readonly array $flush;
    private readonly string $locale;
    private readonly string $fallback;

    /** @var array<string, mixed> the configuration before a request */
    private readonly array $config;

    /** @var array<string, Snapshot> */
    private readonly array $snapshots;

    /** @var array<string, object> */
    private array $shared = [];

    private ?Container $sandbox = null;

    /** Binds an instance and calls nobody back. */
    private readonly \Closure $bind;
    private readonly mixed $request;

    /** @var list<string> whom every request trusts */
    private readonly array $proxies;
    private readonly int $trusted;

    // What depends on the version is looked up once: an autoloader searches anew for a class that it has not found.
    private readonly bool $hasStrCache;
    private readonly bool $hasOnce;
    private readonly bool $hasPaginator;
    private readonly bool $hasClock;

    public function __construct(private readonly Container $app)
    {
        $this->hasStrCache = \method_exists(Str::class, 'flushCache');
        $this->hasOnce = \class_exists(Once::class);
        $this->hasPaginator = \class_exists(PaginationState::class) && $app->bound('view');
        $this->hasClock = \class_exists(Carbon::class);
        $config = $app->bound('config') ? $app->make('config') : null;
        $this->config = $config?->all() ?? [];
        $this->flush = \array_values((array) ($config?->get('edge.flush') ?? []));
        $this->locale = (string) ($config?->get('app.locale') ?? 'en');
        $this->fallback = (string) ($config?->get('app.fallback_locale') ?? $this->locale);
        $this->request = $app->bound('request') ? $app->make('request') : null;
        $this->proxies = Request::getTrustedProxies();
        $this->trusted = Request::getTrustedHeaderSet();
        $this->bind = \Closure::bind(static function (Container $container, string $name, mixed $instance): void {
            $container->instances[$name] = $instance;
        }, null, Container::class);
        $snapshots = [];
        foreach (self::RESTORE as $name => $except) {
            if ($app->bound($name) && $app->resolved($name) && \is_object($service = $app->make($name))) {
                $snapshots[$name] = new Snapshot($service, $except);
            }
        }
        $this->snapshots = $snapshots;
    }

    /** Clones the application for a request. */
    public function open(Request $request): Container
    {
        $bind = $this->bind;
        // Providers hold the application itself, and what they have bound asks it for the request.
        $bind($this->app, 'request', $request);
        $this->sandbox = $sandbox = clone $this->app;
        $bind($sandbox, 'app', $sandbox);
        $bind($sandbox, Container::class, $sandbox);
        Container::setInstance($sandbox);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($sandbox);

        foreach ($this->snapshots as $snapshot) {
            $snapshot->give('container', $sandbox);
            $snapshot->give('app', $sandbox);
        }
        if (isset($this->snapshots['view'])) {
            $sandbox->make('view')->share('app', $sandbox);
        }
        foreach ($this->shared(self::GIVE) as $name => $service) {
            $method = self::GIVE[$name];
            if (\method_exists($service, $method)) {
                $service->$method($sandbox);
            }
        }
        if ($this->hasPaginator) {
            PaginationState::resolveUsing($sandbox);
        }

        return $sandbox;
    }

    /** Forgets the request. An exception means that something may be left: then the worker must not go on. */
    public function close(): void
    {
        $app = $this->app;
        ($this->bind)($app, 'request', $this->request);
        Container::setInstance($app);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($app);

        // It holds itself, so only the garbage collector would find it and all that the request has made, for a quarter of the time.
        $this->sandbox?->flush();
        $this->sandbox = null;
        $this->forgetMade();
        foreach ($this->snapshots as $snapshot) {
            $snapshot->restore();
        }
        foreach ($this->shared(self::FORGET) as $name => $service) {
            $method = self::FORGET[$name];
            if (\method_exists($service, $method)) {
                $service->$method();
            }
        }
        $this->forgetSessions();
        $this->forgetLocale();
        $this->forgetTransactions();
        $this->forgetLogContext();
        if (\method_exists($app, 'forgetScopedInstances')) {
            $app->forgetScopedInstances();
        }
        foreach (['auth.driver', ...$this->flush] as $name) {
            $app->forgetInstance($name);
        }
        if ($this->hasStrCache) {
            Str::flushCache();
        }
        if ($this->hasOnce) {
            Once::flush();
        }
        if (Request::getTrustedProxies() !== $this->proxies) {
            Request::setTrustedProxies($this->proxies, $this->trusted);
        }
        if ($this->hasClock && Carbon::hasTestNow()) {
            Carbon::setTestNow();
        }
    }

    /**
     * The shared services among $methods. Looking them up costs more than anything else here, so what was found is kept.
     *
     * @param array<string, string> $methods
     *
     * @return array<string, object>
     */
    private function shared(array $methods): array
    {
        foreach (\array_diff_key($methods, $this->shared) as $name => $method) {
            if ($this->app->resolved($name) && $this->app->bound($name)) {
                $this->shared[$name] = $this->app->make($name);
            }
        }

        return \array_intersect_key($this->shared, $methods);
    }

    /** A tenant's connection must not serve the next one: what was made while the configuration was another goes. */
    private function forgetMade(): void
    {
        if (!isset($this->snapshots['config']) || ($now = $this->app->make('config')->all()) === $this->config) {
            return;
        }
        $changed = static fn (string $section): bool => ($now[$section] ?? null) !== ($this->config[$section] ?? null);
        if ($changed('database') && $this->app->resolved('db')) {
            $db = $this->app->make('db');
            foreach (\array_keys($db->getConnections()) as $name) {
                $db->purge($name);
            }
        }
        if ($changed('database') && $this->app->resolved('redis')) {
            $redis = $this->app->make('redis');
            foreach (\array_keys((array) $redis->connections()) as $name) {
                $redis->purge($name);
            }
        }
        foreach (self::MADE_FROM as $section => [$name, $property]) {
            if ($changed($section) && $this->app->resolved($name) && $this->app->bound($name)) {
                Snapshot::clear($this->app->make($name), $property);
                foreach (self::DERIVED as $derived) {
                    $this->app->forgetInstance($derived);
                }
            }
        }
    }

    /** The manager keeps its stores, with the attributes of whoever used them last. */
    private function forgetSessions(): void
    {
        if (!$this->app->resolved('session')) {
            return;
        }
        foreach ($this->app->make('session')->getDrivers() as $store) {
            // The usual request has no session; a new id costs as much as all else here.
            if ($store->isStarted() || $store->all() !== []) {
                $store->flush();
                $store->setId(null);
                Snapshot::clear($store, 'started', false);
            }
        }
    }

    private function forgetLocale(): void
    {
        if (!$this->app->resolved('translator')) {
            return;
        }
        $translator = $this->app->make('translator');
        if ($translator->getLocale() !== $this->locale) {
            $translator->setLocale($this->locale);
            if ($this->hasClock) {
                Carbon::setLocale($this->locale);
            }
        }
        if ($translator->getFallback() !== $this->fallback) {
            $translator->setFallback($this->fallback);
        }
    }

    /** Connections stay open; what a request has left in them does not. */
    private function forgetTransactions(): void
    {
        if (!$this->app->resolved('db')) {
            return;
        }
        foreach ($this->app->make('db')->getConnections() as $connection) {
            if ($connection->transactionLevel() > 0) {
                $connection->rollBack(0);
            }
            $connection->flushQueryLog();
            if (\method_exists($connection, 'forgetRecordModificationState')) {
                $connection->forgetRecordModificationState();
            }
        }
    }

    private function forgetLogContext(): void
    {
        if (!$this->app->resolved('log')) {
            return;
        }
        $log = $this->app->make('log');
        if (\method_exists($log, 'flushSharedContext')) {
            $log->flushSharedContext();
        }
        if (\method_exists($log, 'getChannels')) {
            foreach ($log->getChannels() as $channel) {
                $channel->withoutContext();
            }
        }
    }
}
