@echo off
rem Sets Easel up and starts it: double-click, or run.bat --port 8000 and so on.
cd /d "%~dp0"
where py >nul 2>nul
if %errorlevel%==0 (py -3 run.py --open %*) else (python run.py --open %*)
if errorlevel 1 pause
