<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Contracts\Auth\Access\Gate;
use Illuminate\Contracts\Broadcasting\Factory as Broadcasting;
use Illuminate\Contracts\Pipeline\Hub;
use Illuminate\Container\Container;
use Illuminate\Notifications\ChannelManager;
use Illuminate\Pagination\PaginationState;
use Illuminate\Support\Facades\Facade;
use Illuminate\Support\Once;
use Illuminate\Support\Str;

/**
 * Keeps requests apart. Each is handled by a clone of the application that booted once: what is bound or resolved during the
 * request goes with the clone. Services that were resolved before, and so are shared, are told about the clone when a request
 * comes, and cleaned when it is over.
 *
 * @internal
 */
final class Sandbox
{
    /** Shared services that hold the application, and how they are given another. Which of the methods exist depends on the version. */
    private const GIVE = [
        'auth' => 'setApplication',
        'cache' => 'setApplication',
        'db' => 'setApplication',
        'filesystem' => 'setApplication',
        'log' => 'setApplication',
        'mail.manager' => 'setApplication',
        'queue' => 'setApplication',
        'router' => 'setContainer',
        'routes' => 'setContainer',
        'session' => 'setContainer',
        'validator' => 'setContainer',
        Broadcasting::class => 'setApplication',
        ChannelManager::class => 'setContainer',
        Gate::class => 'setContainer',
        Hub::class => 'setContainer',
    ];

    /** Shared services that keep something of a request, and the method that makes them forget it. */
    private const FORGET = [
        'auth' => 'forgetGuards',
        'cookie' => 'flushQueuedCookies',
        'mail.manager' => 'forgetMailers',
        Broadcasting::class => 'forgetDrivers',
        ChannelManager::class => 'forgetDrivers',
    ];

    /** @var list<string> bindings of the application's own that config('edge.flush') names */
    private readonly array $flush;
    private readonly string $locale;
    private readonly string $fallback;

    /** @var array<string, object> */
    private array $shared = [];

    // What depends on the version is looked up once: an autoloader searches anew for a class that it has not found.
    private readonly bool $hasStrCache;
    private readonly bool $hasOnce;
    private readonly bool $hasPaginator;

    public function __construct(private readonly Container $app)
    {
        $this->hasStrCache = \method_exists(Str::class, 'flushCache');
        $this->hasOnce = \class_exists(Once::class);
        $this->hasPaginator = \class_exists(PaginationState::class) && $app->bound('view');
        $config = $app->bound('config') ? $app->make('config') : null;
        $this->flush = \array_values((array) ($config?->get('edge.flush') ?? []));
        $this->locale = (string) ($config?->get('app.locale') ?? 'en');
        $this->fallback = (string) ($config?->get('app.fallback_locale') ?? $this->locale);
    }

    /** Clones the application for a request. */
    public function open(): Container
    {
        $sandbox = clone $this->app;
        Container::setInstance($sandbox);
        $sandbox->instance('app', $sandbox);
        $sandbox->instance(Container::class, $sandbox);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($sandbox);

        // Small and often changed during a request: copies.
        foreach (['config', 'url'] as $name) {
            if ($sandbox->resolved($name)) {
                $sandbox->instance($name, clone $sandbox->make($name));
            }
        }
        if ($sandbox->resolved('view')) {
            // Views that share data with all views do so until the end of the request.
            $view = clone $sandbox->make('view');
            $view->setContainer($sandbox);
            $view->share('app', $sandbox);
            $view->share('__env', $view);
            $sandbox->instance('view', $view);
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
        Container::setInstance($app);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($app);

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
        foreach (['auth.driver', 'session.store', ...$this->flush] as $name) {
            $app->forgetInstance($name);
        }
        if ($this->hasStrCache) {
            Str::flushCache();
        }
        if ($this->hasOnce) {
            Once::flush();
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
            if (\class_exists(\Carbon\Carbon::class)) {
                \Carbon\Carbon::setLocale($this->locale);
            }
        }
        $translator->setFallback($this->fallback);
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
